"""What the contracts of events that go out share: their envelope, and the kinds of value in them."""

from typing import Annotated, Literal, NotRequired

from pydantic import ConfigDict, Field, WithJsonSchema, with_config

# Python 3.11's own TypedDict hides from pydantic which keys are required.
from typing_extensions import TypedDict

INSTANT_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z$"

CONTRACT = ConfigDict(strict=True, extra="ignore")
Instant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time", "pattern": INSTANT_PATTERN})]
AccountId = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
# Described by Field, since every event of an account has it.
OwnAccountId = Annotated[
    str, Field(description="The id that the account's maker gave it, where it has one; unique in all programs.")
]
Ordinal = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]


@with_config(CONTRACT)
class Attributes(TypedDict):
    """The CloudEvents attributes of every event."""

    # Described by Field: pydantic does not pass docstrings of attributes on to the types that inherit them.
    specversion: Annotated[Literal["1.0"], Field(description="The version of CloudEvents.")]
    id: Annotated[
        str, Field(min_length=1, description="Names the event for ever; the same id again is the same event.")
    ]
    source: Annotated[
        str, Field(min_length=1, description="The loyalty worker that publishes: its setting LOYALTY_EVENT_SOURCE.")
    ]
    type: str
    time: Annotated[Instant, Field(description="When it was recorded.")]
    datacontenttype: Annotated[Literal["application/json"], Field(description="The form of data.")]
    traceparent: NotRequired[
        Annotated[
            str,
            Field(
                description="The trace of the message that caused the event, as W3C Trace Context writes it; absent "
                "where that had none, and of what the calendar brings.",
                pattern="^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
                examples=["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            ),
        ]
    ]
    tracestate: NotRequired[
        Annotated[
            str,
            Field(
                description="What tracing systems have added to it.",
                max_length=512,
                examples=["congo=t61rcWkgMzE"],
            ),
        ]
    ]


@with_config(CONTRACT)
class MemberTold(TypedDict):
    """A customer who may use the account beside its owner."""

    customer_id: str
    """The shop's id of the customer."""
    role: Annotated[str, Field(examples=["member", "viewer"])]
    """What they may do: spend its points, or see them."""


@with_config(CONTRACT)
class LotChange(TypedDict):
    """What the change gave to one lot, or took from it."""

    lot_number: Ordinal
    """The lot, counted within the account."""
    points: int
    """Positive: given to the lot; negative: taken from it."""
    expires_at: Instant | None
    """The first instant at which the lot's points cannot be spent; null: never."""

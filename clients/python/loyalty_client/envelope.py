"""What all messages have: the attributes of CloudEvents 1.0, and how they are checked.

What is sent is checked strictly: no field that the worker does not know, and nothing coerced. What is received is read
leniently, since later releases of the worker add fields.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Self
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from loyalty_client.values import Id


def _new_id() -> str:
    return str(uuid4())


def _now() -> datetime:
    return datetime.now(UTC)


class SentPart(BaseModel):
    """A part of a message that is sent; what is not a field of it is refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    exactly_one_of: ClassVar[tuple[str, ...]] = ()
    at_least_one_of: ClassVar[tuple[str, ...]] = ()
    not_together: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _fields_go_together(self) -> Self:
        def given(names: tuple[str, ...]) -> list[str]:
            return [name for name in names if getattr(self, name) is not None and getattr(self, name) is not False]

        if self.exactly_one_of and len(given(self.exactly_one_of)) != 1:
            raise ValueError(f"give exactly one of {', '.join(self.exactly_one_of)}")
        if self.at_least_one_of and not given(self.at_least_one_of):
            raise ValueError(f"give at least one of {', '.join(self.at_least_one_of)}")
        if self.not_together and len(given(self.not_together)) == len(self.not_together):
            raise ValueError(f"give one of {' and '.join(self.not_together)}, not both")
        return self


class SentMessage(SentPart):
    """A message to the loyalty worker."""

    specversion: Literal["1.0"] = "1.0"
    id: Id
    """Names the message for ever within its source: the same again, after an error or a crash, is counted once."""
    source: Id
    """Who sends: a URI reference such as "/shops/high-street"."""
    type: str
    time: AwareDatetime
    """When it happened, with an offset and not in the future; of an order the instant of the purchase."""
    traceparent: str | None = None
    """The trace that it belongs to, as W3C Trace Context writes it; that of the current span of OpenTelemetry, if
    nothing is given. All events that it causes have it too."""
    tracestate: str | None = None
    """What tracing systems add to it. Name nobody in it."""

    def to_json(self) -> str:
        """Write the message as it travels."""
        return self.model_dump_json(exclude_none=True)


class Fact(SentMessage):
    """Something that has happened."""


class Command(SentMessage):
    """Something that is asked for, and is answered."""

    id: Id = Field(default_factory=_new_id)
    """Names the command for ever within its source; drawn, if none is given. Ask again with the same command object."""
    time: AwareDatetime = Field(default_factory=_now)
    """When it was asked for; now, if nothing is given."""


class ReceivedPart(BaseModel):
    """A part of an event; fields that later releases add are left out."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Event(ReceivedPart):
    """What the loyalty worker publishes."""

    id: str
    """Names the event for ever: the same id again is the same event."""
    source: str
    type: str
    time: AwareDatetime
    """When it was recorded."""
    subject: str | None = None
    """The account that it is about, where there is one."""
    traceparent: str | None = None
    """The trace of the message that caused it, as W3C Trace Context writes it, where that had one."""
    tracestate: str | None = None
    data: Any

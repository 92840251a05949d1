"""The options that say which dead letters are meant; the same for listing them and for mending them."""

from typing import Annotated

import typer

from core.domain.outcomes import Reason
from core.mending.letters import LetterFilter
from workers.cli.wiring import read_instant

#: Numbers are 64-bit in the database.
INBOX_ID_MAX = 2**63 - 1

Numbers = Annotated[
    list[int] | None,
    typer.Argument(metavar="INBOX_ID", min=1, max=INBOX_ID_MAX, help="Numbers from `loyalty dead list`."),
]
OfReason = Annotated[
    Reason | None, typer.Option("--reason", help="Parked for this reason, such as unknown_program.", metavar="REASON")
]
OfSource = Annotated[str | None, typer.Option("--source", help="Sent by this source.", metavar="SOURCE")]
OfType = Annotated[str | None, typer.Option("--type", help="Of this type, such as order.refunded.", metavar="TYPE")]
OfOrder = Annotated[
    str | None,
    typer.Option("--order", help="Of this order; where it could not be read, with the id in its bytes.", metavar="ID"),
]
Since = Annotated[
    str | None, typer.Option("--since", help="Received from this instant on, with its offset.", metavar="TIME")
]
Until = Annotated[
    str | None, typer.Option("--until", help="Received before this instant, with its offset.", metavar="TIME")
]
OfText = Annotated[str | None, typer.Option("--text", help="With these words in the detail.", metavar="TEXT")]


def letters_of(  # one for each option
    reason: Reason | None,
    source: str | None,
    of_type: str | None,
    order_id: str | None,
    since: str | None,
    until: str | None,
    text: str | None,
) -> LetterFilter:
    """Read the options; InstantError for a time that is none."""
    return LetterFilter(
        reason=reason.value if reason else None,
        source=source,
        type=of_type,
        order_id=order_id,
        since=read_instant(since, "--since") if since is not None else None,
        until=read_instant(until, "--until") if until is not None else None,
        text=text,
    )

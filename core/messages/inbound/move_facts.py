"""What commands ask for that correct what an account has, and move it on, of the settled data of their messages."""

from datetime import datetime

from core.domain.subjects import COMMAND
from core.domain.value.adjusting import AdjustTerms
from core.domain.value.commands import Command, Whom
from core.domain.value.converting import ConvertTerms
from core.domain.value.reversing import ReverseTerms
from core.domain.value.transferring import TransferTerms
from core.messages.inbound.command_facts import Data, instant_of, whom_of


def adjust_terms(data: Data) -> AdjustTerms:
    """What an adjustment gives or takes."""
    return AdjustTerms(
        data["points"],
        data["reason"],
        data.get("order_id"),
        instant_of(data.get("expires_at")),
        allow_negative_balance=data.get("allow_negative_balance", False),
    )


def transfer_terms(data: Data) -> TransferTerms:
    """What a transfer moves, and where to."""
    return TransferTerms(
        data["points"],
        whom_of(data, "to_"),
        data.get("reason"),
        data.get("order_id"),
        allow_remainder=data.get("allow_remainder", False),
    )


def reversal_of(source: str, occurred_at: datetime, data: Data) -> Command[ReverseTerms]:
    """What a reversal undoes: a command of its own source, unless it names another."""
    command_id = data["command_id"]
    terms = ReverseTerms(
        (data.get("command_source", source), command_id),
        data.get("points"),
        data.get("reason"),
        allow_negative_balance=data.get("allow_negative_balance", False),
    )
    return Command(source, occurred_at, Whom(COMMAND, command_id), terms, data.get("unit"), by=data.get("by"))


def convert_terms(data: Data) -> ConvertTerms:
    """What a conversion turns into points of another program."""
    return ConvertTerms(data["points"], data["to_program_id"], data.get("reason"))

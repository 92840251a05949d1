"""What a manager asks of a program: points issued, taken back, expired and open; tiers; what another would cost."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import Connection, Engine, text

from core.domain.program import Program
from core.domain.program.registry import ProgramRegistry
from core.messages.program_files.program_file import parse_program
from core.simulating.beside import compare_recorded
from core.simulating.comparing import Side, sides
from core.store.engine import database_now
from core.store.programs import load_registry

#: The change that the page asks about, in the text of the demo's program file and in words.
_RATES = 'points: {bronze: "1", silver: "1.25", gold: "1.5"}'
_OTHER_RATES = 'points: {bronze: "1", silver: "1.5", gold: "2"}'
QUESTION = "What if a pound earned 1.5 points in silver (today 1.25), and 2 points in gold (today 1.5)?"

_MONTHS = """
SELECT date_trunc('month', occurred_at AT TIME ZONE :zone)::date AS month,
       coalesce(sum(points + pending_change) FILTER (WHERE kind = 'accrual'), 0)::bigint AS issued,
       -coalesce(sum(points + pending_change) FILTER (WHERE kind = 'clawback'), 0)::bigint AS taken_back,
       -coalesce(sum(points + pending_change) FILTER (WHERE kind = 'expiry'), 0)::bigint AS expired
FROM entries JOIN accounts USING (account_id) WHERE program_id = :program_id
GROUP BY month ORDER BY month
"""
_TIERS = """
SELECT tier_id, count(*) AS customers, sum(balance + pending)::bigint AS points_open
FROM accounts WHERE program_id = :program_id GROUP BY tier_id
"""
_ORDERS = """
SELECT count(*) AS orders, min(occurred_at AT TIME ZONE :zone)::date AS first_day,
       max(occurred_at AT TIME ZONE :zone)::date AS last_day
FROM orders WHERE program_id = :program_id AND account_id IS NOT NULL
"""


class Month(NamedTuple):
    """What happened to points in a month of the program's time zone."""

    month: date  #: its first day
    issued: int
    taken_back: int
    expired: int


class Tier(NamedTuple):
    """The customers of a tier, and the points that they hold."""

    tier_id: str
    customers: int
    points_open: int


class Outcome(NamedTuple):
    """What a program comes to with the recorded orders."""

    issued: int
    open: int
    customers: dict[str, int]  #: by tier

    @property
    def gone(self) -> int:
        """Points that were taken back or have expired."""
        return self.issued - self.open


class Figures(NamedTuple):
    """All that the page shows."""

    program: Program
    orders: int
    first_day: date
    last_day: date
    as_of: datetime
    months: Sequence[Month]
    tiers: Sequence[Tier]  #: those of the program, lowest first
    today: Outcome
    changed: Outcome

    @property
    def point_value(self) -> Decimal:
        """What a point is worth, in major units of the program's currency; the demo's own program says so."""
        assert self.program.point_value is not None
        return self.program.point_value

    @property
    def issued(self) -> int:
        """Points that orders have earned."""
        return sum(month.issued for month in self.months)

    @property
    def taken_back(self) -> int:
        """Points that refunds and cancellations have taken."""
        return sum(month.taken_back for month in self.months)

    @property
    def expired(self) -> int:
        """Points that nobody used in time."""
        return sum(month.expired for month in self.months)

    @property
    def open(self) -> int:
        """Points that customers hold, available and pending."""
        return sum(tier.points_open for tier in self.tiers)

    @property
    def customers(self) -> int:
        """Accounts of the program."""
        return sum(tier.customers for tier in self.tiers)


def changed_program(program_text: str) -> Program:
    """Give the program that `QUESTION` asks about, made of the demo's own."""
    assert _RATES in program_text
    return parse_program(program_text.replace(_RATES, _OTHER_RATES), path="the changed program")


def load_figures(engine: Engine, changed: Program) -> Figures:
    """Read the books of the program that `changed` changes, and run it over the recorded orders; there must be some."""
    with engine.begin() as connection:
        registry, as_of = load_registry(connection), database_now(connection)
        program = registry.at(changed.program_id, as_of).program
        asked = {"program_id": program.program_id, "zone": program.time_zone}
        orders = connection.execute(text(_ORDERS), asked).one()
        months = [Month(*row) for row in connection.execute(text(_MONTHS), asked)]
        tiers = _tiers(connection, program)
    today, other = _outcomes(engine, registry, changed, as_of)
    return Figures(program, orders.orders, orders.first_day, orders.last_day, as_of, months, tiers, today, other)


def _tiers(connection: Connection, program: Program) -> list[Tier]:
    found = {row.tier_id: row for row in connection.execute(text(_TIERS), {"program_id": program.program_id})}
    none = Tier("", 0, 0)
    return [Tier(each.tier_id, *(found.get(each.tier_id, none))[1:]) for each in program.tiers]


def _outcomes(engine: Engine, registry: ProgramRegistry, changed: Program, until: datetime) -> tuple[Outcome, Outcome]:
    versions = [version for version in registry.versions() if version.program_id == changed.program_id]
    found = compare_recorded(
        engine, changed.program_id, sides(versions, changed, None), until, lambda messages: messages
    )
    return _outcome(found.before), _outcome(found.after)


def _outcome(side: Side) -> Outcome:
    return Outcome(side.tally.points_granted, side.points_open, dict(side.tiers))

"""Until when tiers hold, as far as programs and accounts alone show: to the end of a period, or as a person held them.

Which period that is depends on what was posted when; but it is one that some version of the program has, and none of
the far future.
"""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.program import Program, QualificationWindow
from core.domain.program.registry import ProgramRegistry
from core.domain.tiers.qualification import ZONE_CHANGE_MAX, qualification_period
from core.store.engine import database_now, stream_rows
from core.store.proof.scope import Findings, Scope


class _Tiered(NamedTuple):
    """An account whose tier ends, or could."""

    account_id: UUID
    program_id: str
    tier_id: str
    tier_until: datetime | None
    tier_held_until: datetime | None
    qualifying_from: datetime | None
    enrolled_at: datetime | None
    ends_by_hand: list[datetime | None] | None
    holds: list[datetime | None] | None


_ACCOUNTS = """
SELECT a.account_id, a.program_id, a.tier_id, a.tier_until, a.tier_held_until, a.qualifying_from, a.enrolled_at,
       h.ends, h.holds
FROM accounts a
LEFT JOIN (SELECT account_id, array_agg((rebuilt->>'tier_until')::timestamptz) AS ends,
                  array_agg((rebuilt->>'tier_held_until')::timestamptz) AS holds
           FROM repairs WHERE subject = 'tier' GROUP BY account_id) h USING (account_id)
WHERE a.tier_until IS NOT NULL OR a.tier_held_until IS NOT NULL OR a.tier_changes > 0
"""
_CLOCKS = timedelta(days=1)  #: how far a shop's clock may be ahead


def tiers_otherwise(connection: Connection, registry: ProgramRegistry, scope: Scope) -> Findings:
    """Accounts whose tier ends at an instant that no period and no person gives."""
    now = database_now(connection)
    for row in stream_rows(connection, "tiers_anew", scope.narrow(_ACCOUNTS), scope.parameters):
        account = _Tiered._make(row)
        text = _otherwise(account, registry.programs(account.program_id), now)
        if text is not None:
            yield account.account_id, f"account {account.account_id}: its tier {account.tier_id} {text}"


def _otherwise(account: _Tiered, versions: list[Program], now: datetime) -> str | None:
    held, until = account.tier_held_until, account.tier_until
    if held is not None and held not in (account.holds or ()):
        return f"is held until {held.isoformat()}, but nobody has held it"
    if until is None:
        if _must_end(account, versions):
            return "is never reviewed, but its program reviews it"
        return None
    if until in (account.ends_by_hand or ()):
        return None
    if not any(_is_end(program, until, account, now) for program in versions):
        return f"is reviewed at {until.isoformat()}, when no period ends"
    return None


def _must_end(account: _Tiered, versions: list[Program]) -> bool:
    """Whether a tier of this account has an end, under whichever version it was reached."""
    firsts = {program.tiers[0].tier_id for program in versions}
    is_reviewed = all(program.qualification.window is not QualificationWindow.LIFETIME for program in versions)
    return is_reviewed and len(firsts) == 1 and account.tier_id not in firsts and account.qualifying_from is not None


def _is_end(program: Program, until: datetime, account: _Tiered, now: datetime) -> bool:
    """Whether a period ends then, that which runs, or that which the account counts, or the one after."""
    if qualification_period(program, until - timedelta(microseconds=1), account.enrolled_at).end != until:
        return False
    latest = max(now + _CLOCKS, account.qualifying_from or now)
    running = qualification_period(program, latest + ZONE_CHANGE_MAX, account.enrolled_at).end
    assert running is not None
    following = qualification_period(program, running + ZONE_CHANGE_MAX, account.enrolled_at).end
    return following is not None and until <= following

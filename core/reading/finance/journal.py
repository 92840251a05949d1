"""A month of a program's entries, summed by day and kind, for a journal of double entry."""

from sqlalchemy import Connection

from core.domain.accounting.flows import FLOWS, Flow
from core.domain.accounting.journal import Changes, Journal, Transaction
from core.domain.accounting.months import Month
from core.domain.ledger import EntryKind
from core.domain.program.registry import ProgramRegistry
from core.store.engine import run_bulk
from core.store.liability import value_of_point

_CHANGES = """
sum(e.points + e.deficit_change)::bigint, sum(e.pending_change)::bigint, sum(e.reserved_change)::bigint,
sum(e.deficit_change)::bigint
"""
_OPENING = f"""
SELECT {_CHANGES} FROM entries e JOIN accounts a USING (account_id)
WHERE a.program_id = %(program_id)s AND e.recorded_at < %(starts_at)s
"""  # noqa: S608  # our own words
# Where the time zone changes within the month, its last hours are of its last day all the same.
_DAYS = f"""
SELECT least(greatest((e.recorded_at AT TIME ZONE %(zone)s)::date, %(first_day)s::date),
             (%(first_day)s::date + interval '1 month - 1 day')::date) AS day,
       CASE WHEN e.kind = 'reversal'
            THEN coalesce((SELECT c.kind FROM entries c WHERE c.account_id = e.account_id
                           AND c.sequence = e.corrects_sequence), 'adjustment')
            ELSE e.kind END AS undone,
       e.kind,
       e.kind = 'debit' AND coalesce((e.why->>'forfeited')::boolean, false) AS is_forfeited, count(*), {_CHANGES}
FROM entries e JOIN accounts a USING (account_id)
WHERE a.program_id = %(program_id)s AND e.recorded_at >= %(starts_at)s AND e.recorded_at < %(ends_at)s
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""  # noqa: S608  # our own words


def load_journal(connection: Connection, registry: ProgramRegistry, program_id: str, month: Month) -> Journal:
    """The journal of a month, with what there was before. `connection` must see one snapshot.

    KeyError for an unknown program.
    """
    run_bulk(connection, "SET LOCAL statement_timeout = 0")
    version = registry.at(program_id, month.ends_at)
    asked = {
        "program_id": program_id,
        "starts_at": month.starts_at,
        "ends_at": month.ends_at,
        "first_day": month.first_day,
        "zone": registry.at(program_id, month.starts_at).program.zone.key,
    }
    (opening,) = run_bulk(connection, _OPENING, asked)
    transactions = []
    for day, undone, kind, is_forfeited, entries, *changes in run_bulk(connection, _DAYS, asked):
        flow = Flow.EXPIRED if is_forfeited else FLOWS[EntryKind(undone)]
        name = "forfeited" if is_forfeited else kind
        transactions.append(Transaction(day, flow, name, entries, Changes(*changes)))
    program = version.program
    return Journal(
        program_id,
        month,
        program.unit,
        program.currency,
        program.is_money,
        value_of_point(program),
        Changes(*(points or 0 for points in opening)),
        [each for each in transactions if each.postings],
    )

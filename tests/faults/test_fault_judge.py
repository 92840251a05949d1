"""The judge of the fault runs must be seen to condemn: a clean run is let pass, each planted fault is found."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine

from core.messages.inbound.sources import CommandGrant, Sources
from core.store.engine import create_database_engine
from tests.conftest import OpenDatabase
from tests.faults.event_log import EventLog
from tests.faults.fault_programs import DESK, GRANTED, apply_programs
from tests.faults.judge import Snapshot, differences, take_snapshot
from tests.faults.kinds import KINDS, make_stream
from tests.faults.stream import ANSWERED, COMMAND_CONFLICT, NOT_ALLOWED, POSTED, REPLAYED, WAITING, Stream
from tests.published import PUBLISH_ALL
from tests.shell import LIMITS, Shell

SEED, MESSAGES = 20_261_121, 400
LONG_AFTER = "2026-01-01T00:00:00Z"


class Run(NamedTuple):
    """A run without processes: the stream was received and posted, the events of the outbox are what a consumer got."""

    stream: Stream
    snapshot: Snapshot
    events: list[bytes]

    def judge(self, *, may_disorder: bool = False, confirmed: int = 1) -> list[str]:
        log = EventLog()
        for body in self.events:
            log.add(body)
        counts = dict.fromkeys(self.stream.events, confirmed)
        return differences(self.stream, counts, self.snapshot, log, may_disorder=may_disorder)

    def place(self, kind: str, number: int = 0) -> int:
        """The place of an event of this type among all."""
        return [n for n, body in enumerate(self.events) if json.loads(body)["type"] == f"loyalty.{kind}"][number]

    def row(self, state: str, reason: str | None = None) -> int:
        """The place of an inbox row with this outcome."""
        return next(n for n, row in enumerate(self.snapshot.inbox) if (row.state, row.reason) == (state, reason))


def posted(engine: Engine, stream: Stream) -> Run:
    apply_programs(engine)
    grants = {DESK: dict.fromkeys(GRANTED, CommandGrant())}
    sources = Sources({}, parks_unlisted=False, commands=grants)
    shell = Shell(engine, program_text=None, limits=LIMITS._replace(sources=sources))
    for start in range(0, len(stream.deliveries), 20):
        shell.take(*(delivery.body for delivery in stream.deliveries[start : start + 20]))
    while shell.sweep()["woken"]:
        shell.post()
    shell.expire(LONG_AFTER)
    shell.execute(PUBLISH_ALL)
    with engine.begin() as connection:
        snapshot = take_snapshot(connection)
    return Run(
        stream, snapshot, [row.body.encode() for row in shell.rows("SELECT body FROM outbox ORDER BY outbox_id")]
    )


@pytest.fixture(scope="module")
def clean_run(open_database: OpenDatabase) -> Iterator[Run]:
    with open_database() as url:
        engine = create_database_engine(url)
        yield posted(engine, make_stream(SEED, MESSAGES, datetime.now(UTC)))
        engine.dispose()


@pytest.fixture
def run(clean_run: Run) -> Run:
    return deepcopy(clean_run)


@pytest.mark.parametrize("seed", range(2))
def test_what_the_worker_makes_of_a_stream_is_what_the_model_says(engine: Engine, seed: int) -> None:
    assert posted(engine, make_stream(seed, 300, datetime.now(UTC))).judge() == []


def test_the_same_seed_gives_the_same_stream() -> None:
    now = datetime.now(UTC)
    assert make_stream(5, 300, now).deliveries == make_stream(5, 300, now).deliveries
    assert make_stream(5, 300, now).deliveries != make_stream(6, 300, now).deliveries


def test_a_stream_has_every_kind_of_outcome() -> None:
    stream = make_stream(SEED, len(KINDS), datetime.now(UTC))
    parked = {"event_conflict", "order_conflict", "refund_conflict", "unknown_program", "wrong_currency"}
    parked |= {"refund_exceeds_order", "unknown_line", "bad_envelope", "invalid_data", "unknown_type", "time_in_future"}
    assert stream.outcomes().keys() >= parked | {POSTED, REPLAYED, WAITING, ANSWERED, NOT_ALLOWED, COMMAND_CONFLICT}
    assert {delivery.way.value for delivery in make_stream(SEED, MESSAGES, datetime.now(UTC)).deliveries} == {
        "queue",
        "array",
        "celery",
    }


def test_repeats_and_a_consumer_that_begins_again_are_no_differences(run: Run) -> None:
    run.events[:] = run.events[:40] + run.events[10:] + run.events[-3:]
    assert run.judge() == []


def change_row(run: Run, place: int, **values: Any) -> None:
    run.snapshot.inbox[place] = run.snapshot.inbox[place]._replace(**values)


def lose_a_message(run: Run) -> None:
    del run.snapshot.inbox[run.row("posted")]


def lose_a_dead_letter(run: Run) -> None:
    del run.snapshot.inbox[run.row("dead", "not_json")]


def store_twice(run: Run) -> None:
    row = run.snapshot.inbox[run.row("posted")]
    run.snapshot.inbox.append(row._replace(inbox_id=10**6, is_first=False, state="dead", reason="event_conflict"))


def post_twice(run: Run) -> None:
    change_row(run, run.row("replayed"), state="posted")


def leave_waiting(run: Run) -> None:
    change_row(run, run.row("posted"), state="waiting")


def park_what_is_right(run: Run) -> None:
    change_row(run, run.row("posted"), state="dead", reason="posting_failed")


def receive_of_nobody(run: Run) -> None:
    run.snapshot.inbox.append(run.snapshot.inbox[0]._replace(inbox_id=10**6, body=b"{}", event_id="x"))


def an_account(run: Run, program_id: str) -> int:
    accounts = run.snapshot.accounts
    return next(n for n, row in enumerate(accounts) if row.program_id == program_id and row.balance > 0)


def pay_a_point_too_many(run: Run, program_id: str) -> None:
    place = an_account(run, program_id)
    account = run.snapshot.accounts[place]
    run.snapshot.accounts[place] = account._replace(balance=account.balance + 1)


def double_an_entry(run: Run) -> None:
    account = run.snapshot.accounts[an_account(run, "flat")]
    entries = run.snapshot.entries[account.account_id]
    entries.append(entries[-1]._replace(sequence=len(entries) + 1))


def change_an_entry(run: Run) -> None:
    account = run.snapshot.accounts[an_account(run, "tiered")]
    entries = run.snapshot.entries[account.account_id]
    entries[0] = entries[0]._replace(points=entries[0].points + 1)


def lose_an_order(run: Run) -> None:
    del run.snapshot.orders[0]


def misjudge_a_tier(run: Run) -> None:
    changes = next(changes for changes in run.snapshot.tiers.values() if changes)
    changes.pop()


def lose_an_event(run: Run, kind: str) -> None:
    del run.events[run.place(kind)]


def lose_the_last_event(run: Run) -> None:
    del run.events[run.place("balance.changed", -1)]


def swap_two_events_of_an_account(run: Run) -> None:
    subjects: dict[str, int] = {}
    for place, body in enumerate(run.events):
        event = json.loads(body)
        if event["type"] == "loyalty.balance.changed":
            if event["subject"] in subjects:
                other = subjects[event["subject"]]
                run.events[place], run.events[other] = run.events[other], body
                return
            subjects[event["subject"]] = place


def change_an_event(run: Run) -> None:
    body = run.events[run.place("balance.changed")]
    run.events.append(body.replace(b'"balance":', b'"balance":1'))


def rename_an_event(run: Run) -> None:
    event = json.loads(run.events[run.place("balance.changed")])
    run.events.append(json.dumps({**event, "id": f"{event['id']}:again"}).encode())


def tell_of_another_ledger(run: Run) -> None:
    body = run.events[run.place("account.created")]
    subject = json.loads(body)["subject"]
    run.events.append(body.replace(subject.encode(), b"00000000-0000-7000-8000-000000000000"))


def leave_unpublished(run: Run) -> Run:
    return run._replace(snapshot=run.snapshot._replace(unpublished=1))


def overspend_a_budget(run: Run) -> Run:
    limits = run.snapshot.limits
    return run._replace(snapshot=run.snapshot._replace(limits=limits._replace(launched=91, spent=91)))


def forget_a_remainder(run: Run) -> None:
    usages = run.snapshot.limits.usages
    key = next(key for key in usages if key[1] == "steps")
    usages[key] = usages[key][0], usages[key][1] + 1


def exceed_a_cap(run: Run) -> None:
    limits = run.snapshot.limits
    key = next(key for key in limits.usages if key[1] == "capped")
    limits.usages[key] = 61, limits.usages[key][1]
    limits.given[key] = 61


def release_too_early(run: Run) -> None:
    place = next(n for n, row in enumerate(run.snapshot.accounts) if row.pending)
    account = run.snapshot.accounts[place]
    run.snapshot.accounts[place] = account._replace(balance=account.balance + account.pending, pending=0)


def lose_a_cancellation(run: Run) -> None:
    run.snapshot.order_events.remove(next(row for row in run.snapshot.order_events if row[2] == "cancelled"))


def break_an_invariant(run: Run) -> Run:
    return run._replace(snapshot=run.snapshot._replace(broken=["balance is the sum of the entries: account 1"]))


def answer_place(run: Run, verb: str, kind: str = "command.accepted") -> int:
    """The place of an answer to a command of this verb."""
    events = [json.loads(body) for body in run.events]
    return next(n for n, e in enumerate(events) if e["type"] == f"loyalty.{kind}" and e["data"]["command"] == verb)


def change_answer(run: Run, place: int, **data: Any) -> None:
    event = json.loads(run.events[place])
    run.events[place] = json.dumps({**event, "data": {**event["data"], **data}}).encode()


def lose_an_answer(run: Run) -> None:
    del run.events[answer_place(run, "debit")]


def answer_twice_with_other_words(run: Run) -> None:
    place = answer_place(run, "credit")
    run.events.append(run.events[place].replace(b'"lifetime_points":', b'"lifetime_points":1'))


def answer_what_was_not_done(run: Run) -> None:
    place = answer_place(run, "credit")
    change_answer(run, place, points=json.loads(run.events[place])["data"]["points"] + 1)


def reject_without_a_reason(run: Run) -> None:
    change_answer(run, answer_place(run, "debit", "command.rejected"), code="account_frozen")


def redeem_a_reward_twice(run: Run) -> None:
    """What issued it says that it has redeemed it."""
    change_answer(run, answer_place(run, "reward.issue"), command="reward.redeem")


def capture_more_than_was_held(run: Run) -> None:
    change_answer(run, answer_place(run, "capture"), points=1_000)


def command_entry(run: Run, kind: str) -> tuple[Any, int]:
    """An account and the place of an entry of this kind."""
    return next(
        (account_id, n)
        for account_id, entries in run.snapshot.entries.items()
        for n, entry in enumerate(entries)
        if entry.kind == kind
    )


def do_a_command_twice(run: Run) -> None:
    account_id, place = command_entry(run, "credit")
    entries = run.snapshot.entries[account_id]
    entries.append(entries[place]._replace(sequence=len(entries) + 1))


def take_more_than_there_was(run: Run) -> None:
    account_id, place = command_entry(run, "debit")
    entries = run.snapshot.entries[account_id]
    entries[place] = entries[place]._replace(balance_after=-1)


def keep_a_refusal_to_ourselves(run: Run) -> None:
    places = [n for n, body in enumerate(run.events) if b'"not_allowed"' in body]
    for place in reversed(places):
        del run.events[place]


def do_what_is_not_allowed(run: Run) -> None:
    change_row(run, run.row("rejected", "not_allowed"), state="posted", reason=None)


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (lose_a_message, "has 0 row(s)"),
        (lose_a_dead_letter, "has 0 row(s)"),
        (store_twice, "has 2 row(s)"),
        (post_twice, "are posted"),
        (leave_waiting, "0 of"),
        (park_what_is_right, "outcomes"),
        (receive_of_nobody, "was sent by nobody"),
        (lambda run: pay_a_point_too_many(run, "flat"), "the messages give"),
        (lambda run: pay_a_point_too_many(run, "tiered"), "its entries replayed at"),
        (lambda run: pay_a_point_too_many(run, "fading"), "the messages give"),
        (double_an_entry, "the order has an accrual already"),
        (change_an_entry, "the model has"),
        (lose_an_order, "is missing"),
        (misjudge_a_tier, "tiers of"),
        (lambda run: lose_an_event(run, "balance.changed"), "told None, the ledger has Change"),
        (lambda run: lose_an_event(run, "account.created"), "was not told"),
        (lambda run: lose_an_event(run, "tier.changed"), "told None, the ledger has ('bronze'"),
        (lambda run: lose_an_event(run, "message.parked"), "message parked"),
        (lose_the_last_event, "told None, the ledger has Change"),
        (swap_two_events_of_an_account, "came before"),
        (change_an_event, "came again with another content"),
        (rename_an_event, "in two events"),
        (tell_of_another_ledger, "is in no ledger"),
        (leave_unpublished, "1 event(s) are not published"),
        (overspend_a_budget, "the budget of 90 says 91"),
        (forget_a_remainder, "that was kept"),
        (exceed_a_cap, "above the cap"),
        (release_too_early, "the messages give"),
        (lose_a_cancellation, "is missing"),
        (break_an_invariant, "loyalty verify: balance is the sum"),
        (lose_an_answer, "has none"),
        (answer_twice_with_other_words, "came again with another content"),
        (answer_what_was_not_done, "its 1 entries have"),
        (capture_more_than_was_held, "gave out"),
        (redeem_a_reward_twice, "was ended 2 times"),
        (reject_without_a_reason, "which nothing explains"),
        (do_a_command_twice, "its 2 entries have"),
        (take_more_than_there_was, "it took more than there was"),
        (keep_a_refusal_to_ourselves, "nobody was told that"),
        (do_what_is_not_allowed, "must be rejected not_allowed"),
        (lambda run: pay_a_point_too_many(run, "valued"), "the messages give"),
    ],
)
def test_each_planted_fault_is_found(run: Run, plant: Callable[[Run], Run | None], words: str) -> None:
    found = (plant(run) or run).judge()
    assert any(words in text for text in found), found


def test_a_message_that_was_confirmed_more_often_than_counted_is_found(run: Run) -> None:
    assert any("was confirmed 99 times" in text for text in run.judge(confirmed=99))


def test_only_a_failure_of_the_broker_excuses_events_out_of_order(run: Run) -> None:
    swap_two_events_of_an_account(run)
    assert run.judge(may_disorder=True) == []

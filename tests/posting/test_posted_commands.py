"""Commands: each is done or rejected once and for ever, and its sender is told which, in the commit that does it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine
from uuid6 import uuid7

from core.domain.books import Books
from core.domain.program.registry import ProgramRegistry
from core.domain.value.verbs import Verb
from core.mending.dead_letters import RetryLimits, retry_letters
from core.messages.inbound.replies import ReplyAddress
from core.messages.inbound.sources import CommandGrant, Sources
from core.posting.batch import Poster
from core.posting.handlers import HANDLERS, Outcome
from core.receiving.receive import receive
from core.store.engine import create_database_engine
from tests.answers import TRUSTED, answer, answers
from tests.factories import PROGRAM_TEXT, SOURCE, as_bytes, command, order
from tests.shell import EVENT_SOURCE, LIMITS, Shell

LATER = "2099-01-01T00:00:00Z"


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine, limits=TRUSTED)


def lots(shell: Shell) -> list[tuple[Any, ...]]:
    rows = shell.rows("SELECT origin_kind, points_granted, points_remaining FROM lots ORDER BY account_id, lot_number")
    return [tuple(row) for row in rows]


class TestCredit:
    def test_it_opens_a_lot_and_an_account_where_the_customer_has_none(self, shell: Shell) -> None:
        assert shell.take(command("credit", "k1", points=500, reason="goodwill")) == {"posted": 1}
        told = answer(shell, "k1")
        assert (told["type"], told["command"], told["points"]) == ("accepted", "credit", 500)
        [account], [entry] = told["accounts"], told["entries"]
        assert (account["balance"], account["lifetime_points"], account["tier"]) == (500, 0, "bronze")
        assert (entry["kind"], entry["sequence"], entry["points"]) == ("credit", 1, 500)
        assert (shell.balance(), lots(shell), shell.differences()) == (500, [("command", 500, 500)], [])

    def test_it_opens_none_where_customers_are_enrolled_by_command(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + "enrol: command\n")
        shell.take(command("credit", "k1", points=500))
        assert (answer(shell, "k1")["code"], shell.balance()) == ("unknown_account", None)

    def test_it_is_announced_as_every_change_of_a_balance(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=500))
        [told] = [event["data"] for event in shell.events("loyalty.balance.changed")]
        assert (told["kind"], told["reason"], told["points"], told["command_id"]) == (
            "credit",
            "command_credit",
            500,
            "k1",
        )

    def test_it_counts_for_no_tier_and_no_lifetime(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), command("credit", "k1", points=5_000))
        assert [tuple(row) for row in shell.rows("SELECT balance, lifetime_points, tier_id FROM accounts")] == [
            (5_100, 100, "bronze")
        ]

    def test_its_points_last_as_long_as_it_says_else_as_the_program_says(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + "expiry: {policy: after_days, days: 30}\n")
        shell.take(command("credit", "k1", points=1), command("credit", "k2", points=2, expires_at=LATER))
        ends = [row[0] for row in shell.rows("SELECT expires_at - available_at FROM lots ORDER BY lot_number")]
        assert ends[0].days == 30
        assert ends[1].days > 20_000
        assert shell.differences() == []

    def test_points_that_are_available_later_are_pending_until_then(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=10, available_at=LATER))
        [account] = answer(shell, "k1")["accounts"]
        assert (account["balance"], account["pending"], shell.differences()) == (0, 10, [])


class TestDebit:
    def test_it_takes_what_expires_soonest(self, shell: Shell) -> None:
        shell.take(
            command("credit", "k1", points=100),
            command("credit", "k2", points=50, expires_at=LATER),
            command("debit", "k3", points=120, order_id="o7"),
        )
        told = answer(shell, "k3")
        assert (told["points"], told["accounts"][0]["balance"]) == (120, 30)
        assert [(lot["lot_number"], lot["points"]) for lot in told["entries"][0]["lots"]] == [(2, -50), (1, -70)]
        assert (shell.balance(), shell.differences()) == (30, [])

    def test_with_too_few_points_it_takes_none(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=100), command("debit", "k2", points=120))
        told = answer(shell, "k2")
        assert (told["type"], told["code"], shell.balance()) == ("rejected", "insufficient_points", 100)
        assert "120 are asked for, and 100 can be spent" in told["detail"]
        assert shell.outcome("k2") == ("rejected", "insufficient_points")
        assert shell.differences() == []

    def test_with_allow_remainder_it_takes_what_there_is(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=100), command("debit", "k2", points=120, allow_remainder=True))
        told = answer(shell, "k2")
        assert (told["points"], told["remainder"], shell.balance()) == (100, 20, 0)

    def test_expired_points_cannot_be_spent_whether_or_not_the_run_has_come(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=100, expires_at=LATER))
        shell.execute(
            "UPDATE lots SET expires_at = now() - interval '1 minute', available_at = now() - interval '1 day'"
        )
        shell.take(command("debit", "k2", points=1))
        assert answer(shell, "k2")["code"] == "insufficient_points"


class TestOnceAndForEver:
    def test_the_same_command_again_gets_the_same_answer_again(self, shell: Shell) -> None:
        asked = command("credit", "k1", points=500, time="2026-03-01T12:00:00Z")
        shell.take(asked)
        shell.take(asked)
        shell.take(asked, asked)
        first, *again = answers(shell)
        assert [(event["id"], event["data"]) for event in again] == [(first["id"], first["data"])] * 2
        assert (shell.balance(), shell.differences()) == (500, [])

    def test_it_is_the_same_event_to_the_byte(self, shell: Shell) -> None:
        asked = command("credit", "k1", points=500, time="2026-03-01T12:00:00Z")
        for _ in range(3):
            shell.take(asked)
        bodies = shell.rows("SELECT body FROM outbox WHERE type = 'loyalty.command.accepted'")
        assert (len(bodies), len({row.body for row in bodies})) == (3, 1)

    def test_a_refusal_is_no_answer_to_what_its_id_names(self, shell: Shell) -> None:
        for points in (500, 501, 502, 501):
            shell.take(command("credit", "k1", points=points, time="2026-03-01T12:00:00Z"))
        told = answers(shell)
        assert [event["data"].get("code") for event in told] == [None, *["command_conflict"] * 3]
        assert len({event["id"] for event in told}) == 4

    def test_so_does_one_whose_message_is_long_purged(self, shell: Shell) -> None:
        asked = command("credit", "k1", points=500, time="2026-03-01T12:00:00Z")
        shell.take(asked)
        shell.execute("DELETE FROM inbox")
        assert shell.take(asked) == {"replayed": 1}
        first, again = answers(shell)
        assert (again["id"], again["data"]) == (first["id"], first["data"])
        assert shell.balance() == 500

    def test_a_rejected_one_stays_rejected(self, shell: Shell) -> None:
        asked = command("debit", "k1", points=200, time="2026-03-01T12:00:00Z")
        shell.take(order("o1", "100.00"), asked)
        shell.take(command("credit", "k2", points=500))
        shell.take(asked)
        told = [event["data"] for event in answers(shell) if event["correlationid"] == "k1"]
        assert [data["code"] for data in told] == ["insufficient_points"] * 2
        assert (told[0], shell.balance()) == (told[1], 600)

    def test_another_verb_is_other_content(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=500, time="2026-03-01T12:00:00Z"))
        shell.execute("DELETE FROM inbox")
        debit = command("debit", "k1", points=500, time="2026-03-01T12:00:00Z")
        shell.take(debit)
        shell.take(debit)
        assert [event["data"].get("code") for event in answers(shell)] == [None, "command_conflict", "command_conflict"]
        assert shell.balance() == 500

    @pytest.mark.parametrize("is_purged", [False, True])
    def test_other_content_under_a_known_id_is_a_conflict(self, shell: Shell, *, is_purged: bool) -> None:
        shell.take(command("credit", "k1", points=500, time="2026-03-01T12:00:00Z"))
        if is_purged:
            shell.execute("DELETE FROM inbox")
        shell.take(command("credit", "k1", points=501, time="2026-03-01T12:00:00Z"))
        told = answers(shell)[-1]
        assert (told["type"], told["data"]["code"]) == ("loyalty.command.rejected", "command_conflict")
        assert (shell.balance(), shell.outcome("k1")) == (500, ("rejected", "command_conflict"))
        assert shell.value("SELECT count(*) FROM inbox WHERE state = 'dead'") == 0


@pytest.mark.parametrize(
    ("verb", "data", "code"),
    [
        ("debit", {"customer_id": "nobody", "points": 1}, "unknown_account"),
        ("credit", {"account_id": "none-such", "points": 1}, "unknown_account"),
        ("credit", {"account_id": "6a1f9f6e-0000-7000-8000-000000000000", "points": 1}, "unknown_account"),
        ("credit", {"program_id": "other", "points": 1}, "unknown_program"),
        ("credit", {"points": 1, "unit": "miles"}, "wrong_unit"),
        ("credit", {"points": 10**15 + 1}, "invalid_data"),
        ("credit", {"points": 10**15}, "too_many_points"),
        ("credit", {"points": 1, "expires_at": "2026-01-01T00:00:00Z"}, "already_expired"),
        ("credit", {"points": 0}, "invalid_data"),
        ("credit", {"points": "5"}, "invalid_data"),
        ("credit", {"points": 1.5}, "invalid_data"),
        ("debit", {"points": -5}, "invalid_data"),
        ("credit", {"customer_id": "c1", "account_id": "a1", "points": 1}, "invalid_data"),
        ("cerdit", {"points": 1}, "unknown_type"),
    ],
)
def test_what_cannot_be_done_is_rejected_with_a_code(shell: Shell, verb: str, data: dict[str, Any], code: str) -> None:
    shell.take(command("credit", "k0", points=1))
    shell.take(command(verb, "k1", **data))
    told = answer(shell, "k1")
    assert (told["type"], told["code"]) == ("rejected", code)
    assert told["detail"]
    assert told["advice"]
    assert (shell.balance(), shell.differences()) == (1, [])


def test_answers_go_where_their_senders_want_them_too(shell: Shell) -> None:
    asked = [
        command("credit", "k1", points=5, time="2026-03-01T12:00:00Z"),
        command("debit", "k2", points=9),
        command("cerdit", "k3"),
    ]
    for _ in range(2):
        with shell.engine.begin() as connection:
            receive(
                connection,
                [as_bytes(each) for each in asked],
                limits=TRUSTED,
                shards=shell.shards,
                event_source=EVENT_SOURCE,
                replies=[ReplyAddress("loyalty.replies.till", f"c{place}") for place in range(3)],
            )
        shell.post()
    rows = shell.rows(
        "SELECT reply_to, correlation_id FROM outbox WHERE type LIKE 'loyalty.command.%' ORDER BY correlation_id"
    )
    assert [tuple(row) for row in rows] == [("loyalty.replies.till", f"c{place}") for place in (0, 0, 1, 1, 2, 2)]


@pytest.mark.parametrize(("points", "is_done"), [(5, True), (50, False)], ids=["accepted", "rejected"])
@pytest.mark.parametrize("first", [ReplyAddress("loyalty.replies.till", "c1"), None], ids=["asked", "not asked"])
def test_a_command_that_comes_again_while_it_is_decided_is_answered_to_both(
    engine: Engine, points: int, is_done: bool, first: ReplyAddress | None
) -> None:
    again = ReplyAddress("loyalty.replies.till", "c2")
    debits = HANDLERS["loyalty.command.debit"]
    body = as_bytes(command("debit", "k1", points=points, time="2026-03-01T12:00:00Z"))

    def send(reply: ReplyAddress | None) -> None:
        with engine.begin() as connection:
            receive(connection, [body], limits=TRUSTED, shards=4, event_source=EVENT_SOURCE, replies=[reply])

    def decide(books: Books, message: Any, rules: ProgramRegistry, as_of: datetime) -> Outcome:
        send(again)
        return debits.decide(books, message, rules, as_of)

    shell = Shell(
        engine, limits=TRUSTED, handlers={**HANDLERS, "loyalty.command.debit": debits._replace(decide=decide)}
    )
    shell.take(command("credit", "k0", points=10))
    send(first)
    shell.post()
    rows = shell.rows(
        "SELECT reply_to, correlation_id, body FROM outbox WHERE event_key LIKE 'answer:% k1%' ORDER BY correlation_id"
    )
    asked = [("loyalty.replies.till", "c2"), *([first] if first else [(None, None)])]
    assert sorted((row[:2] for row in rows), key=str) == sorted(map(tuple, asked), key=str)
    assert len({row.body for row in rows}) == 1
    assert (shell.balance(), shell.differences()) == (10 - points * is_done, [])


class TestNamingTheAccount:
    def test_an_account_is_named_by_the_id_that_was_drawn(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"))
        account_id = str(shell.value("SELECT account_id FROM accounts"))
        shell.take(command("debit", "k1", account_id=account_id, points=30))
        assert (answer(shell, "k1")["account_id"], shell.balance()) == (account_id, 70)

    @pytest.mark.parametrize(
        ("status", "verb", "code"),
        [
            ("frozen", "debit", "account_frozen"),
            ("frozen", "credit", None),
            ("closed", "credit", "account_closed"),
            ("closed", "debit", "account_closed"),
        ],
    )
    def test_frozen_and_closed_accounts_take_part_in_less(
        self, shell: Shell, status: str, verb: str, code: str | None
    ) -> None:
        shell.take(order("o1", "100.00"))
        shell.execute("UPDATE accounts SET status = :status", status=status)
        shell.take(command(verb, "k1", points=30))
        assert answer(shell, "k1").get("code") == code


class TestWhoMayCommand:
    def receive_from(self, engine: Engine, grants: dict[Verb, CommandGrant] | None) -> Shell:
        sources = None if grants is None else Sources({}, parks_unlisted=False, commands={SOURCE: grants})
        return Shell(engine, limits=LIMITS._replace(sources=sources))

    @pytest.mark.parametrize("grants", [None, {}, {Verb.DEBIT: CommandGrant()}])
    def test_nobody_whom_the_sources_file_does_not_let(
        self, engine: Engine, grants: dict[Verb, CommandGrant] | None
    ) -> None:
        shell = self.receive_from(engine, grants)
        shell.take(command("credit", "k1", points=5))
        assert answer(shell, "k1")["code"] == "not_allowed"
        assert (shell.outcome("k1"), shell.balance()) == (("rejected", "not_allowed"), None)

    def test_what_it_lets_and_no_more_in_one_command(self, engine: Engine) -> None:
        shell = self.receive_from(engine, {Verb.CREDIT: CommandGrant(points_per_command_max=100)})
        shell.take(command("credit", "k1", points=100), command("credit", "k2", points=101))
        assert (answer(shell, "k1")["type"], answer(shell, "k2")["code"]) == ("accepted", "not_allowed")
        assert shell.balance() == 100

    def test_a_whole_reversal_and_a_capture_of_all_are_held_to_it_too(self, engine: Engine) -> None:
        limit = CommandGrant(points_per_command_max=50)
        verbs = (Verb.CAPTURE, Verb.REVERSE)
        grants = {**dict.fromkeys((Verb.CREDIT, Verb.AUTHORIZE), CommandGrant()), **dict.fromkeys(verbs, limit)}
        shell = self.receive_from(engine, grants)
        shell.take(command("credit", "k0", points=60), command("credit", "k1", points=100))
        shell.take(command("authorize", "k2", points=60))
        shell.take(
            command("capture", "k3", customer_id=None, authorization_id="k2"), command("reverse", "k4", command_id="k1")
        )
        assert [answer(shell, each)["code"] for each in ("k3", "k4")] == ["source_limit_reached"] * 2
        shell.take(command("capture", "k5", customer_id=None, authorization_id="k2", points=50))
        assert (answer(shell, "k5")["type"], shell.balance(), shell.differences()) == ("accepted", 110, [])

    def test_what_it_lets_on_one_day_and_no_more(self, engine: Engine) -> None:
        grants = {Verb.CREDIT: CommandGrant(points_per_day_max=100), Verb.DEBIT: CommandGrant()}
        shell = self.receive_from(engine, grants)
        shell.take(*(command("credit", f"k{number}", customer_id=f"c{number}", points=40) for number in range(4)))
        shell.take(command("debit", "d1", customer_id="c0", points=40), command("credit", "k5", points=20))
        told = [answer(shell, each).get("code") for each in ("k0", "k1", "k2", "k3", "d1", "k5")]
        assert sorted(told[:4], key=str) == [None, None, "source_limit_reached", "source_limit_reached"]
        assert told[5] is None
        assert [tuple(row) for row in shell.rows("SELECT type, points FROM source_days")] == [
            ("loyalty.command.credit", 100)
        ]
        shell.execute("UPDATE source_days SET day = day - 1")
        shell.take(command("credit", "k6", points=100))
        assert (answer(shell, "k6")["type"], shell.differences()) == ("accepted", [])

    def test_what_is_rejected_or_comes_again_counts_for_nothing(self, engine: Engine) -> None:
        shell = self.receive_from(engine, {Verb.CREDIT: CommandGrant(points_per_day_max=100)})
        asked = command("credit", "k1", points=60)
        shell.take(command("credit", "k0", points=10, unit="miles"), asked)
        shell.take(asked, command("credit", "k2", points=40), command("credit", "k3", points=1))
        assert [answer(shell, each).get("code") for each in ("k0", "k2", "k3")] == [
            "wrong_unit",
            None,
            "source_limit_reached",
        ]

    def test_what_was_parked_and_is_retried_counts_on_the_day_on_which_it_is_done(self, engine: Engine) -> None:
        shell = self.receive_from(engine, {Verb.CREDIT: CommandGrant(points_per_day_max=100)})
        shell.receive(command("credit", "k1", points=60), command("credit", "k2", points=50, customer_id="c2"))
        shell.execute(
            "UPDATE inbox SET state = 'dead', reason = 'posting_failed', detail = 'it failed', settled_at = now(),"
            " times_parked = 1"
        )
        numbers = [row[0] for row in shell.rows("SELECT inbox_id FROM inbox ORDER BY inbox_id")]
        limits = RetryLimits(shell.limits, shell.shards, EVENT_SOURCE, waiting_days_max=30)
        for number in numbers:
            [mended] = retry_letters(engine, [number], limits, "kim")
            assert mended.is_mended
            shell.post()
        assert (answer(shell, "k1")["type"], answer(shell, "k2")["code"]) == ("accepted", "source_limit_reached")
        assert shell.value("SELECT points FROM source_days") == 60

    def test_no_more_also_when_several_shards_post_at_once(self, engine: Engine) -> None:
        shell = self.receive_from(engine, {Verb.CREDIT: CommandGrant(points_per_day_max=10)})
        shell.receive(*(command("credit", f"k{number}", customer_id=f"c{number}", points=1) for number in range(40)))

        def post(shard: int) -> None:
            own = create_database_engine(engine.url.render_as_string(hide_password=False))
            poster = Poster(own, event_source=EVENT_SOURCE, new_account_id=uuid7)
            while poster.post_batch(shard, 3).claimed:
                pass
            own.dispose()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(post, range(4)))
        shell.post()  # what was left to a worker that had taken it along
        assert shell.value("SELECT sum(balance) FROM accounts") == 10
        assert shell.value("SELECT count(*) FROM commands WHERE code = 'source_limit_reached'") == 30
        assert shell.value("SELECT sum(points) FROM source_days") == 10

    def test_an_id_is_not_used_up_by_a_refusal(self, engine: Engine) -> None:
        asked = command("credit", "k1", points=5)
        self.receive_from(engine, None).take(asked)
        shell = Shell(engine, limits=TRUSTED, program_text=None)
        shell.take(asked)
        assert [event["type"] for event in answers(shell)] == ["loyalty.command.rejected", "loyalty.command.accepted"]
        assert (shell.balance(), shell.differences()) == (5, [])

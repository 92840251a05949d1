"""Where the sender of a message wants its answer is kept with the message, as far as it is allowed and of use.

The kind here is the made-up one of `test_new_message_type`, as one that is answered; of ours, commands are.
"""

from typing import Any

import pytest
from sqlalchemy import Engine

from core.messages.inbound.celery_messages import envelope
from core.messages.inbound.contracts import CONTRACTS, INBOUND, Contracts
from core.messages.inbound.replies import ReplyAddress
from core.messages.inbound.sources import SourceKey, Sources
from core.receiving.receive import Receipt, receive, receive_in_parts
from core.store.posting_turns import ClaimBounds, begin_posting
from tests.factories import as_bytes, in_envelope, order
from tests.posting.test_new_message_type import CONTRACT, promoted
from tests.shell import EVENT_SOURCE, LIMITS, Shell

ANSWERED = Contracts([*CONTRACTS, CONTRACT._replace(is_answered=True)])
ASKED = ReplyAddress("loyalty.replies.shop", "ask-1")
ELSEWHERE = ReplyAddress("loyalty.replies.other", "ask-2")


class Inbox:
    """An inbox into which messages come with where their answers go."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shell = Shell(engine, contracts=ANSWERED)

    def take(self, *messages: tuple[Any, ReplyAddress | None], limits: Any = LIMITS) -> Receipt:
        raw = [message if isinstance(message, bytes) else as_bytes(message) for message, _ in messages]
        replies = [reply for _, reply in messages]
        with self._engine.begin() as connection:
            return receive(
                connection, raw, limits=limits, shards=1, event_source=EVENT_SOURCE, replies=replies, contracts=ANSWERED
            )

    def kept(self) -> list[tuple[str, str | None, str | None]]:
        """Event id and address of each message."""
        rows = self._shell.rows("SELECT event_id, reply_to, correlation_id FROM inbox ORDER BY inbox_id")
        return [tuple(row) for row in rows]

    def claimed(self) -> list[tuple[str, str | None, str | None]]:
        """The same as posting has it."""
        with self._engine.begin() as connection:
            found = begin_posting(connection, 0, ClaimBounds(100, 1_000_000)).claimed
        return [(each.event_id, each.reply_to, each.correlation_id) for each in found]


@pytest.fixture
def inbox(engine: Engine) -> Inbox:
    return Inbox(engine)


def ask(event_id: str = "p1", tier_id: str = "gold") -> dict[str, Any]:
    return promoted("c1", tier_id, event_id)


def test_it_is_kept_with_a_message_that_is_answered_and_posting_has_it(inbox: Inbox) -> None:
    inbox.take((ask("p1"), ASKED), (ask("p2"), ASKED._replace(correlation_id=None)), (ask("p3"), None))
    assert inbox.kept() == [("p1", *ASKED), ("p2", ASKED.reply_to, None), ("p3", None, None)]
    assert inbox.claimed() == inbox.kept()


def test_of_a_message_that_nobody_answers_it_is_not_kept(inbox: Inbox) -> None:
    inbox.take((order("o1", event_id="o1"), ASKED))
    assert inbox.kept() == [("o1", None, None)]


def test_only_commands_are_answered() -> None:
    assert INBOUND.answered == {kind for kind in INBOUND if kind.startswith("loyalty.command.")}


def test_the_events_of_an_array_share_it(inbox: Inbox) -> None:
    inbox.take(([ask("p1"), order("o1", event_id="o1"), ask("p2")], ASKED))
    assert inbox.kept() == [("p1", *ASKED), ("o1", None, None), ("p2", *ASKED)]


def test_it_comes_from_intake_with_the_messages_of_a_batch(inbox: Inbox, engine: Engine) -> None:
    parts = receive_in_parts(
        engine,
        [as_bytes(ask("p1")), as_bytes(ask("p2"))],
        limits=LIMITS,
        shards=1,
        event_source=EVENT_SOURCE,
        replies=[None, ASKED],
        contracts=ANSWERED,
    )
    assert [count for count, _ in parts] == [2]
    assert inbox.kept() == [("p1", None, None), ("p2", *ASKED)]


@pytest.mark.parametrize(
    "raw",
    [
        envelope({"task": "loyalty.submit"}, as_bytes([[ask()], {}, {}]), ASKED),
        envelope({}, as_bytes(ask()), ASKED),
        in_envelope(as_bytes([[ask()], {}, {}]), **ASKED._asdict()),
    ],
    ids=["a task on RabbitMQ", "on its queue without Celery", "a task on Redis"],
)
def test_it_comes_with_a_message_of_celery(inbox: Inbox, raw: bytes) -> None:
    inbox.take((raw, None))
    assert inbox.kept() == [("p1", *ASKED)]


@pytest.mark.parametrize(
    "properties", [{"reply_to": 17}, {"reply_to": ""}, {"reply_to": None}, {"correlation_id": "1"}]
)
def test_a_celery_message_that_names_no_queue_asks_for_nothing(inbox: Inbox, properties: dict[str, Any]) -> None:
    inbox.take((in_envelope(as_bytes([[ask()], {}, {}]), **properties), None))
    assert inbox.kept() == [("p1", None, None)]


def test_what_is_not_allowed_is_left_out_and_told_once_for_a_message_without_its_text(
    inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox.take(
        ([ask("p1"), ask("p2")], ReplyAddress("jane.doe@example.com", "1")), (order("o1"), ReplyAddress("x", "1"))
    )
    inbox.take((ask("p3"), ReplyAddress("loyalty.replies.shop", "jane\ndoe")))
    assert inbox.kept()[:2] == [("p1", None, None), ("p2", None, None)]
    assert inbox.kept()[3] == ("p3", "loyalty.replies.shop", None)
    logged = capsys.readouterr().out
    assert logged.count("action='reply_to_refused'") == 1
    assert logged.count("action='correlation_id_refused'") == 1
    assert "jane" not in logged


def test_it_is_kept_with_one_that_is_parked_too(inbox: Inbox) -> None:
    wrong = ask("p1")
    del wrong["data"]["until"]
    unsigned = LIMITS._replace(sources=Sources({"/shops/test": [SourceKey("k", b"s" * 32)]}, parks_unlisted=False))
    receipt = inbox.take((wrong, ASKED), (ask("p2"), ASKED), (ask("p2", "silver"), ELSEWHERE), (b"no JSON", ASKED))
    assert receipt.parked == 3
    assert inbox.take((ask("p3"), ASKED), limits=unsigned).parked == 1
    assert sorted(inbox.kept()) == [
        ("", None, None),
        ("p1", *ASKED),
        ("p2", *ELSEWHERE),
        ("p2", *ASKED),
        ("p3", *ASKED),
    ]


class TestAMessageThatComesAgain:
    def test_is_answered_where_it_asked_last(self, inbox: Inbox) -> None:
        inbox.take((ask(), ASKED))
        receipt = inbox.take((ask(), ELSEWHERE))
        assert receipt.replayed == 1
        assert receipt.stored[0].message.reply_to == ELSEWHERE.reply_to
        assert inbox.kept() == [("p1", *ELSEWHERE)]

    def test_is_so_also_if_it_comes_twice_at_once(self, inbox: Inbox) -> None:
        inbox.take((ask(), ASKED), (ask(), ELSEWHERE), (ask(), None), (ask("p2"), None), (ask("p2"), ASKED))
        assert inbox.kept() == [("p1", *ELSEWHERE), ("p2", *ASKED)]

    def test_changes_nothing_if_it_asks_for_no_answer(self, inbox: Inbox) -> None:
        inbox.take((ask(), ASKED))
        inbox.take((ask(), None))
        assert inbox.kept() == [("p1", *ASKED)]

    def test_takes_no_correlation_id_of_an_earlier_one_with_it(self, inbox: Inbox) -> None:
        inbox.take((ask(), ASKED))
        inbox.take((ask(), ELSEWHERE._replace(correlation_id=None)))
        assert inbox.kept() == [("p1", ELSEWHERE.reply_to, None)]

    def test_leads_no_answer_away_if_it_says_something_else(self, inbox: Inbox) -> None:
        inbox.take((ask(), ASKED))
        inbox.take((ask(tier_id="silver"), ELSEWHERE))
        assert inbox.kept() == [("p1", *ASKED), ("p1", *ELSEWHERE)]

"""Whatever stands in the queue: it ends as one dead letter with a reason, and the good ones around it are posted."""

import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import kombu
import pytest
import redis

from config.queues import QUEUE_NAMES
from core.domain.outcomes import Reason
from core.messages.inbound.celery_messages import open_envelope
from tests.acceptance.bad_messages import BAD_MESSAGES, BASE, BASE_REFUND, BadMessage
from tests.acceptance.whole_worker import CONFIRMED, WholeWorker, wait_until
from tests.factories import PROGRAM_TEXT, as_bytes, line, order
from workers.brokers.topology import SHOP_EXCHANGE, SHOP_STREAM, SUBMIT_QUEUE

pytestmark = pytest.mark.slow

FLOOD_MESSAGES = int(os.environ.get("LOYALTY_TEST_FLOOD_MESSAGES", "1000"))


class Taken(NamedTuple):
    """What became of the bad messages, each of which had a good one before and behind it."""

    letters: dict[int, dict[str, Any]]  #: what `loyalty dead list --json` shows, by number
    told: dict[int, list[dict[str, Any]]]  #: the data of the parked events, by number
    numbers: dict[bytes, list[int]]  #: the messages in the inbox, by their bytes
    good: dict[str, str]  #: the states of the good ones


@pytest.fixture(scope="module")
def taken(worker: WholeWorker) -> Taken:
    good = [as_bytes(order(f"good-{number}", customer_id=f"good-{number}")) for number in range(len(BAD_MESSAGES) + 1)]
    mixed = [good[0]]
    for bad, following in zip(BAD_MESSAGES, good[1:], strict=True):
        mixed += [bad.body, following]
    before, newest = worker.inbox()  # other tests may have been first
    worker.publish(as_bytes(BASE), as_bytes(BASE_REFUND), *mixed)
    worker.wait_through(before + len(mixed) + 2)
    worker.consumer.consume()
    told: dict[int, list[dict[str, Any]]] = {}
    for event in worker.consumer.of_type("loyalty.message.parked"):
        told.setdefault(event["data"]["inbox_id"], []).append(event["data"])
    numbers: dict[bytes, list[int]] = {}
    for row in worker.rows("SELECT inbox_id, body FROM inbox WHERE inbox_id > :n", n=newest):
        numbers.setdefault(bytes(row.body), []).append(row.inbox_id)
    listed = worker.loyalty("dead", "list", "--limit", "100000", "--json")
    states = worker.rows("SELECT subject, state FROM inbox WHERE subject LIKE 'order good-%'")
    return Taken(
        {letter["inbox_id"]: letter for letter in listed["messages"] if letter["inbox_id"] > newest},
        told,
        numbers,
        {row.subject.removeprefix("order "): row.state for row in states},
    )


@pytest.mark.parametrize("bad", BAD_MESSAGES, ids=lambda bad: bad.name.replace(" ", "-"))
def test_a_bad_message_is_one_dead_letter_that_says_why(taken: Taken, bad: BadMessage) -> None:
    (number,) = taken.numbers[bad.body[1:-1] if bad.name == "an array in an array" else bad.body]
    letter = taken.letters[number]
    assert (letter["state"], letter["reason"], letter["deliveries"]) == ("dead", bad.reason, 1)
    assert bad.words in letter["detail"]
    (told,) = taken.told[number]
    assert (told["reason"], told["detail"]) == (letter["reason"], letter["detail"])


def test_nothing_else_is_parked_and_every_good_message_around_the_bad_is_posted(
    worker: WholeWorker, taken: Taken
) -> None:
    assert len(taken.letters) == len(BAD_MESSAGES)
    assert set(taken.good.values()) == {"posted"}
    assert len(taken.good) == len(BAD_MESSAGES) + 1
    assert worker.balance("c1") == 60, "the first content of the order and of its refund stands"
    assert worker.differences() == []


def test_in_an_array_each_event_stands_and_falls_by_itself(worker: WholeWorker) -> None:
    events = [
        order("in-array-1", customer_id="array"),
        {**order("in-array-2", customer_id="array"), "type": "order.shipped"},
        "no event",
        order("in-array-3", "1.00", customer_id="array"),
    ]
    before, newest = worker.inbox()
    worker.publish(as_bytes(events))
    worker.wait_through(before + 4)
    assert worker.balance("array") == 101
    reasons = worker.rows("SELECT reason FROM inbox WHERE inbox_id > :n AND state = 'dead'", n=newest)
    assert {row.reason for row in reasons} == {"unknown_type", "not_an_event"}


def test_strange_but_right_content_is_posted(worker: WholeWorker) -> None:
    ids = [
        "\\.",
        "\\N",
        "'; DROP TABLE orders; --",
        "{0} %s %(x)s",
        "日本語 🎁",
        "a" * 190,
        "a b",
        "null",
        "\ue000",
        "<b>&",
    ]
    orders = [
        order(order_id, customer_id=order_id, lines=[line(order_id, categories=[order_id])], source=order_id)
        for order_id in ids
    ]
    orders.append(order("note", customer_id="note", attributes={"note": "a\x00b", "gift": True}, more={"deep": [[1]]}))
    before, _ = worker.inbox()
    worker.publish(*map(as_bytes, orders))
    worker.wait_through(before + len(orders))
    assert [worker.balance(order_id) for order_id in [*ids, "note"]] == [100] * len(orders)
    shown = worker.loyalty("account", "show", "日本語 🎁", "--json")
    assert json.dumps(shown, ensure_ascii=False).count("日本語 🎁")
    assert worker.differences() == []


def test_a_stream_entry_without_its_field_is_parked_with_what_it_holds(worker: WholeWorker) -> None:
    if not worker.broker_url.startswith("redis"):
        pytest.skip("RabbitMQ has no fields")
    before, newest = worker.inbox()
    with redis.Redis.from_url(worker.broker_url) as client:
        client.xadd(SHOP_STREAM, {"payload": as_bytes(order("no-field"))})
        client.xadd(SHOP_STREAM, {b"\xff": b"\xfe"})
    worker.publish(as_bytes(order("behind-no-field", customer_id="behind")))
    worker.wait_through(before + 3)
    assert worker.balance("behind") == 100
    letters = worker.rows("SELECT inbox_id, reason, detail FROM inbox WHERE inbox_id > :n AND state = 'dead'", n=newest)
    assert {letter.reason for letter in letters} == {Reason.NOT_AN_EVENT}
    assert letters[0].detail.startswith("the entry has no field event; it has payload:")
    shown = [worker.loyalty("dead", "show", str(letter.inbox_id), "--json")["body_text"] for letter in letters]
    assert json.loads(json.loads(shown[0])["stream_entry"]["payload"])["data"]["order_id"] == "no-field"


def test_what_stands_beside_the_body_of_an_amqp_message_does_not_matter(worker: WholeWorker) -> None:
    if not worker.broker_url.startswith("amqp"):
        pytest.skip("streams have no properties")
    strange: list[dict[str, Any]] = [
        {"content_type": "application/x-python-serialize", "content_encoding": "binary"},
        {"content_type": "text/plain; charset=\x00latin-1", "content_encoding": "gzip"},
        {"content_encoding": "utf-16", "application_headers": {"task": "loyalty.post_inbox", "id": None}},
        {"delivery_mode": 1, "priority": 9, "message_id": "x" * 255, "type": "order.refunded"},
        {},
    ]
    before, _ = worker.inbox()
    worker.publish()  # nothing, but it declares the exchange and the queue: the intake may not have come to that yet
    with kombu.Connection(worker.broker_url, transport_options=CONFIRMED) as connection:
        channel: Any = connection.channel()
        for number, properties in enumerate(strange):
            body = as_bytes(order(f"strange-{number}", customer_id="strange"))
            message = channel.prepare_message(body)
            message.properties = properties
            channel.basic_publish(message, SHOP_EXCHANGE, "order.completed")
    worker.wait_through(before + len(strange))
    assert worker.balance("strange") == 100 * len(strange)


def test_a_program_file_that_rates_an_unknown_tier_is_refused(worker: WholeWorker) -> None:
    file = worker.folder / "bad-program.yaml"
    file.write_text(PROGRAM_TEXT.replace('gold: "2"}', 'platinum: "2"}'))
    refused = worker.refused("program", "apply", str(file))
    assert "platinum is not a tier of this program" in refused
    assert "has no rate for tier gold" in refused
    assert worker.value("SELECT count(*) FROM programs") == 1


def test_as_many_bad_messages_as_good_ones_hold_nothing_up(worker: WholeWorker) -> None:
    good = [as_bytes(order(f"flood-{n}", customer_id=f"flood-{n % 100}", amount="2.00")) for n in range(FLOOD_MESSAGES)]
    bad = [
        (b'{"bad": %d' % number, as_bytes({"bad": number}), as_bytes(order(f"bad-{number}", program_id="nope")))[
            number % 3
        ]
        for number in range(FLOOD_MESSAGES)
    ]
    before, newest = worker.inbox()
    worker.publish(*(message for pair in zip(good, bad, strict=True) for message in pair))
    worker.wait_through(before + 2 * FLOOD_MESSAGES)
    outcomes = worker.rows("SELECT state, count(*) AS messages FROM inbox WHERE inbox_id > :n GROUP BY state", n=newest)
    assert {row.state: row.messages for row in outcomes} == {"posted": FLOOD_MESSAGES, "dead": FLOOD_MESSAGES}
    assert worker.value("SELECT sum(balance) FROM accounts WHERE customer_id LIKE 'flood-%'") == 2 * FLOOD_MESSAGES
    worker.consumer.consume()
    parked = [event["data"]["inbox_id"] for event in worker.consumer.of_type("loyalty.message.parked")]
    assert sum(number > newest for number in parked) == FLOOD_MESSAGES
    assert worker.differences() == []


class _Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def _foreign(marker: Path) -> list[tuple[bytes, str, str, dict[str, Any]]]:
    """What Celery's queues may hold that is no nudge of ours: body, content type, encoding, headers."""
    task = {"lang": "py", "task": "loyalty.post_inbox", "id": "foreign", "argsrepr": "kim@example.com"}
    expiry = {**task, "task": "loyalty.expire_lots", "timelimit": ["a", "b"]}
    mail = '[["kim@example.com"], {}, {}]'
    yaml = f"!!python/object/apply:builtins.open ['{marker}', w]".encode()
    return [
        (pickle.dumps(((_Bomb(marker),), {}, {})), "application/x-python-serialize", "binary", task),
        (yaml, "application/x-yaml", "utf-8", task),
        (b"\x93\x91\xafkim@example.com\x80\x80", "application/x-msgpack", "binary", task),
        (mail.encode(), "application/x-unknown", "utf-8", task),
        (b"kim@example.com {", "application/json", "utf-8", task),
        (mail.encode("utf-16"), "application/json", "utf-8", task),
        (mail.encode(), "application/json", "utf-8", {**task, "task": "kim@example.com"}),
        (zlib.compress(mail.encode()), "application/json", "utf-8", {**task, "compression": "application/x-gzip"}),
        (b'"kim@example.com"', "application/json", "utf-8", {}),
        (b'{"task": "kim@example.com"}', "application/json", "utf-8", {}),
        (b'["kim@example.com"]', "application/json", "utf-8", task),
        (b'[["kim"], {}, {}]', "application/json", "utf-8", task),
        (b"[[-1], {}, {}]", "application/json", "utf-8", task),
        (b'[[], {"as_of": "2199-01-01T00:00:00+00:00"}, {}]', "application/json", "utf-8", expiry),
        (b'[["2199-01-01T00:00:00+00:00"], {}, {}]', "application/json", "utf-8", expiry),
        (b"[[1], {}, {}]", "application/json", "utf-8", {**task, "expires": "kim@example.com"}),
    ]


def _publish(worker: WholeWorker, queue: str, messages: list[tuple[bytes, str, str, dict[str, Any]]]) -> None:
    with kombu.Connection(worker.broker_url, transport_options=CONFIRMED) as connection:
        producer = connection.Producer()
        for body, content_type, encoding, headers in messages:
            producer.publish(
                body, routing_key=queue, content_type=content_type, content_encoding=encoding, headers=headers
            )


def _await_all_roles(worker: WholeWorker, customer_id: str) -> None:
    """Have a hundred points posted to a customer: queues that nobody has declared yet lose what is sent to them."""
    worker.publish(as_bytes(order(f"of-{customer_id}", customer_id=customer_id)))
    wait_until(lambda: worker.rows("SELECT 1 FROM accounts WHERE customer_id = :c", c=customer_id) != [], worker.log)


def test_celery_takes_nothing_but_our_nudges_and_the_worker_goes_on(worker: WholeWorker, tmp_path: Path) -> None:
    _await_all_roles(worker, "foreign")
    before, process = len(worker.log_path.read_bytes()), worker.pid_of("worker")
    foreign = _foreign(tmp_path / "unpickled")
    is_redis = worker.broker_url.startswith("redis")
    garbage = [b"kim@example.com", b"", b"{}", b'{"body": 7, "properties": {"delivery_tag": []}}'] if is_redis else []
    nudge = {"lang": "py", "task": "loyalty.sweep_inbox", "id": 7, "timelimit": ["a", "b"], "eta": 7, "expires": None}
    link = {"task": "loyalty.purge", "args": [], "options": {"queue": "kim@example.com"}}
    for queue in QUEUE_NAMES:
        _publish(worker, queue, foreign)
        # What may be believed of this one is that it is a tick.
        callbacks = json.dumps([[], {}, {"callbacks": [link], "chord": 7}]).encode()
        _publish(worker, queue, [(callbacks, "application/json", "utf-8", nudge)])
        if is_redis:
            with redis.Redis.from_url(worker.broker_url) as client:
                client.lpush(queue, *garbage)
    worker.publish(as_bytes(order("after-foreign", customer_id="foreign")))

    def logged() -> str:
        return worker.log_path.read_bytes()[before:].decode()

    wait_until(lambda: worker.balance("foreign") == 200, worker.log)
    discarded = (len(foreign) + len(garbage)) * len(QUEUE_NAMES)
    wait_until(lambda: logged().count('"event": "task_discarded"') >= discarded, logged)
    assert logged().count('"event": "task_discarded"') == discarded
    assert worker.pid_of("worker") == process
    assert not (tmp_path / "unpickled").exists()
    assert "example.com" not in logged()


def test_what_is_sent_to_loyalty_submit_and_hands_nothing_over_is_parked_with_its_bytes(
    worker: WholeWorker, tmp_path: Path
) -> None:
    _await_all_roles(worker, "submitting")
    before, newest = worker.inbox()
    process = worker.pid_of("worker")
    foreign = [
        (body, content_type, encoding, {**headers, "task": headers.get("task", "x").replace("post_inbox", "submit")})
        for body, content_type, encoding, headers in _foreign(tmp_path / "unpickled")
    ]
    _publish(worker, SUBMIT_QUEUE, foreign)
    worker.wait_through(before + len(foreign))
    rows = worker.rows("SELECT inbox_id, body, reason FROM inbox WHERE inbox_id > :n", n=newest)
    assert {row.reason for row in rows} == {"unusable_task", "not_an_event", "not_json"}
    assert sum(row.reason == "unusable_task" for row in rows) == 12
    kept = [open_envelope(row.body) for row in rows if row.reason == "unusable_task"]
    assert {message.body for message in kept if message is not None} <= {body for body, *_ in foreign}
    said = str(worker.loyalty("dead", "list", "--limit", "100000", "--json"))
    assert "it is the task loyalty.expire_lots" in said
    assert "example.com" not in said
    assert worker.pid_of("worker") == process
    assert not (tmp_path / "unpickled").exists()

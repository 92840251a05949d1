"""No name, address or secret that stands in a message gets into a log or an event; the ids of the contract alone do.

Every free field of every message holds a mark. Then everything that was logged, published or printed is searched.
"""

import io
import json
import logging
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import structlog
from celery.worker.consumer import consumer
from sqlalchemy import Engine

from config.settings import Settings
from core.receiving.receive import receive_in_parts
from core.store.shards import ACCOUNT_SHARDS
from tasks.relay import relay_outbox
from tests.acceptance.bad_messages import BAD_MESSAGES
from tests.factories import as_bytes, order, refund, task_of
from tests.shell import EVENT_SOURCE, LIMITS, Shell
from tests.tasks.runtimes import RecordingPublisher, make_runtime
from workers.library_logs import QUOTE_MESSAGES
from workers.process_logs import set_up_logging

MARKS = ("kim.miller@example.com", "Kim Miller", "hunter2-secret")
MARKED: dict[str, Any] = {"mail": MARKS[0], "name": MARKS[1], "secret": MARKS[2], MARKS[0]: [MARKS[1]]}
TEXT = " ".join(MARKS)
IDS = {"order_id", "customer_id", "program_id"}  #: what they hold goes into events by contract


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What a process would write to its standard error, at the most talkative level."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", text)
        set_up_logging(Settings(log_level="debug"))
    yield text
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


def marked_order(order_id: str = "o1", **data: Any) -> dict[str, Any]:
    """A right order with a mark wherever the contract leaves room for one."""
    lines = [{"line_id": TEXT, "sku": TEXT, "quantity": 1, "amount": "100.00", "categories": list(MARKS), **MARKED}]
    attributes = {"mail": MARKS[0], "name": MARKS[1], "secret": MARKS[2], MARKS[1]: True}
    return {**order(order_id, lines=lines, attributes=attributes, **MARKED, **data), **MARKED}


def marked_refund(**data: Any) -> dict[str, Any]:
    return {**refund(lines=[{"line_id": TEXT, "quantity": 1, **MARKED}], **MARKED, **data), **MARKED}


def test_an_e_mail_address_is_no_customer_id(shell: Shell, logged: io.StringIO) -> None:
    receive(shell, as_bytes(order(customer_id=MARKS[0])))
    assert shell.outcomes() == {("dead", "invalid_data"): 1}
    detail = shell.value("SELECT detail FROM inbox")
    assert 'and without "@": an opaque id, no e-mail address' in detail
    assert_nothing_told(shell, logged)


def wrong() -> Iterator[bytes]:
    """A marked order with a mark in each place where something else is expected, and other ways to be wrong."""
    event = marked_order("wrong")
    event_ids = (f"wrong-{number}" for number in count())
    for path in (("time",), ("specversion",), ("data",), *[("data", key) for key in event["data"] if key not in IDS]):
        for value in (*MARKS, [TEXT], {TEXT: TEXT}):
            changed = json.loads(json.dumps(event))
            target = changed if len(path) == 1 else changed["data"]
            target[path[-1]] = value
            yield as_bytes({**changed, "id": next(event_ids)})
    for key in ("quantity", "amount", "tax", "kind", "categories", "sku"):
        for value in (*MARKS, [TEXT], {TEXT: TEXT}):
            changed = json.loads(json.dumps(event))
            changed["data"]["lines"][0][key] = value
            yield as_bytes({**changed, "id": next(event_ids)})
    whole = as_bytes(event)
    yield from (whole[:-9], whole + whole, b"[" + whole, b"\xff" + whole, TEXT.encode(), as_bytes([TEXT, [TEXT]]))


def assert_clean(where: str, text: str) -> None:
    found = [mark for mark in (*MARKS, "example.com", "Miller", "hunter2") if mark in text]
    place = text.find(found[0]) if found else 0
    assert not found, f"{where}: …{text[max(0, place - 200) : place + 100]}…"


def assert_nothing_told(shell: Shell, logged: io.StringIO) -> None:
    assert logged.getvalue() or not logged.closed
    assert_clean("logs", logged.getvalue())
    for event in shell.events():
        assert_clean("events", json.dumps(event, ensure_ascii=False))
    assert_clean("details", str(shell.rows("SELECT reason, detail FROM inbox")))
    assert_clean("actions", str(shell.rows("SELECT reason, detail FROM dead_letter_actions")))


@pytest.fixture
def shell(own_engine: Engine) -> Shell:
    return Shell(own_engine)


def receive(shell: Shell, *messages: bytes) -> None:
    list(receive_in_parts(shell.engine, messages, limits=LIMITS, shards=4, event_source=EVENT_SOURCE))


def test_messages_that_are_posted_and_that_are_parked_tell_nothing(shell: Shell, logged: io.StringIO) -> None:
    receive(shell, as_bytes(marked_order()), as_bytes(marked_refund()), *wrong())
    receive(shell, *(bad.body.replace(b"c1", TEXT.encode()) for bad in BAD_MESSAGES if len(bad.body) < 10_000))
    shell.post()
    outcomes = shell.outcomes()
    assert outcomes["posted", None] >= 2
    assert outcomes["dead", "invalid_data"] > 30
    assert_nothing_told(shell, logged)


@pytest.mark.parametrize("table", ["inbox", "orders", "entries", "outbox"])
def test_an_error_of_the_database_that_quotes_the_row_tells_nothing(
    shell: Shell, logged: io.StringIO, table: str
) -> None:
    column = {"inbox": "body", "orders": "lines", "entries": "why", "outbox": "body"}[table]
    shell.execute(f"""
        CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'bad row: %, {TEXT}', NEW.{column} USING ERRCODE = 'data_exception', DETAIL = '{TEXT}';
        END $$;
        CREATE TRIGGER fault BEFORE INSERT ON {table} FOR EACH ROW
            WHEN ({"NEW.state = 'received'" if table == "inbox" else "true"}) EXECUTE FUNCTION fault()""")
    message = as_bytes(marked_order())
    if table == "outbox":
        with pytest.raises(Exception, match="bad row"):  # even the parking cannot be told; nothing is swallowed
            shell.take(message)
    else:
        receive(shell, message)
        shell.post()
        assert shell.outcomes() == {("dead", "posting_failed"): 1}
    assert "failed" in logged.getvalue()
    assert_nothing_told(shell, logged)


def test_an_error_that_ends_a_celery_task_is_logged_by_its_kind_alone(logged: io.StringIO) -> None:
    for name in ("celery.app.trace", "celery.worker.request", "celery.worker.strategy"):
        try:
            int(TEXT)
        except ValueError as error:
            logging.getLogger(name).exception("Task handler raised error: %r", error)  # noqa: TRY401  # as Celery does
            context = {"name": "loyalty.purge", "id": TEXT, "exc": repr(error), "args": TEXT}
            logging.getLogger(name).error("Task %(name)s[%(id)s] raised: %(exc)s", context, exc_info=True)  # noqa: G201
    records = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert [record["event"] for record in records] == [
        "Task handler raised error",
        "Task loyalty.purge",
    ] * 3
    assert {record["error"] for record in records} == {"ValueError"}
    assert all(record["frames"] for record in records)
    assert_clean("logs", logged.getvalue())


def test_every_template_of_celery_that_quotes_a_message_is_known() -> None:
    quoting = [text for text in vars(consumer).values() if isinstance(text, str) and "message body" in text]
    assert len(quoting) == 4
    assert all(text.startswith(QUOTE_MESSAGES) for text in quoting)


def test_submitting_and_relaying_tell_nothing(shell: Shell, logged: io.StringIO) -> None:
    publisher = RecordingPublisher()
    runtime = make_runtime(shell.engine, lambda: publisher)
    receive(
        shell,
        task_of(marked_order(), marked_refund(), {TEXT: TEXT}),
        task_of(TEXT, signature=TEXT, **MARKED),
        task_of(marked_order(), task=TEXT),
    )
    shell.post()
    for shard in range(ACCOUNT_SHARDS):
        relay_outbox(runtime, shard)
    assert len(publisher.events) >= 4
    assert_clean("published", str(publisher.events))
    assert_nothing_told(shell, logged)

"""Everything here that reads what a stranger wrote, each with what it promises for any bytes at all.

A promise that is broken is an exception. The corpus, the tests and the fuzzer all run these functions.
"""

import io
import json
import re
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import amqp
from pydantic_core import to_json

from core.domain.books import Books
from core.domain.decision import Decision
from core.domain.ledger import POINTS_MAX
from core.domain.message import Message
from core.domain.orders.facts import (
    AmendedOrder,
    Cancellation,
    Fulfilment,
    LineKind,
    LinePart,
    Order,
    OrderLine,
    Refund,
    RefundLine,
    RefundReversion,
    Return,
)
from core.domain.outcomes import Parked, Reason, Waiting
from core.domain.program.registry import BEGINNING, ProgramRegistry, ProgramVersion
from core.errors import (
    BrokerUnavailableError,
    BrokerUrlError,
    DatabaseUrlError,
    ProgramFileError,
    SourcesFileError,
    UnsupportedBrokerError,
)
from core.messages.inbound.celery_messages import envelope, open_envelope
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.reading import (
    ReadEvent,
    business_hash,
    read_attributes,
    read_lines,
    read_message,
    read_settled,
    read_tags,
)
from core.messages.inbound.replies import REPLY_PREFIX, ReplyAddress, allowed_reply
from core.messages.inbound.sources import SourceKey, Sources, is_signature, sign
from core.messages.inbound.sources_file import parse_sources
from core.messages.program_files.program_file import (
    describe_differences,
    parse_program,
    program_advice,
    program_document,
    program_from_document,
)
from core.messages.reasons import MENDS
from core.messages.trace_context import TraceContext, trace_context
from core.posting.handlers import HANDLERS, Outcome
from tests.factories import in_envelope
from tests.facts import ACCOUNT_ID, AS_OF, program_with, spend_rule
from tests.messages.inbound_samples import LIMITS as UNSALTED
from tests.messages.inbound_samples import NOW
from workers.bootstrap import checked_broker_url
from workers.brokers import url_without_password
from workers.brokers.amqp_frames import Delivery, FrameReader, delivery_handler, message_properties
from workers.brokers.amqp_link import _kombu_connection
from workers.brokers.headers import (
    reply_of_fields,
    reply_of_header,
    signature_of_fields,
    signature_of_header,
    trace_of_fields,
    trace_of_header,
)
from workers.brokers.stream_link import open_client
from workers.brokers.streams import _payload
from workers.celery_transport import KEPT_HEADERS, frame_handler, rewritten
from workers.cli.event_files import split_events
from workers.database_address import checked_database_url

CORPUS = Path(__file__).parent / "corpus"
PROGRAM = program_with(earning_rules=[spend_rule("1000000")], default=True)
RULES = ProgramRegistry([ProgramVersion("test", 1, BEGINNING, PROGRAM)], stamp=1)
KEY = SourceKey("k", b"s" * 32, NOW + timedelta(days=1))
SOURCES = Sources({"/shops/high-street": [KEY], "/shops/test": []}, parks_unlisted=True)
PASSWORD = "sesame"
LIMITS = UNSALTED._replace(reference_salt=b"s" * 32)
DETAIL_CHARACTERS_MAX = 3_000
_ONE = Decimal(1)


def message(raw: bytes) -> None:
    """Any bytes become events or say why not; what is an event is read again, and decided, and is the same."""
    for event in read_message(raw, limits=LIMITS, now=NOW):
        assert event.body in raw
        if isinstance(event, ReadEvent):
            _decided(event)
        else:
            _explained(event.reason, event.detail)
    signed = LIMITS._replace(sources=SOURCES)
    for event in read_message(raw, limits=signed, now=NOW, signature=sign(raw, "k", KEY.secret)):
        again = read_message(event.body, limits=signed, now=NOW, signature=event.signature)
        assert [type(found) for found in again] == [type(event)]
        if not isinstance(event, ReadEvent):
            _explained(event.reason, event.detail)


def signature(raw: bytes) -> None:
    """Only the one right signature proves anything; every other says why it does not."""
    text = raw.decode("utf-8", "surrogateescape")
    refusal = SOURCES.check(b"{}", text, NOW).refusal("/shops/high-street")
    is_right = text.lower() == sign(b"{}", "k", KEY.secret) and text.startswith("k=")
    assert (refusal is None) == is_right
    if refusal is not None:
        _explained(refusal.reason, refusal.detail)
    assert not is_signature(text) or text.isascii()


def program(raw: bytes) -> None:
    """Any text is a program that survives being stored, or a refusal that names the file and what is wrong."""
    text = raw.decode("utf-8", "replace")
    try:
        read = parse_program(text, path="p.yaml")
    except ProgramFileError as error:
        _refused(str(error), "The program file p.yaml cannot be used:\n")
    else:
        stored = program_from_document(json.loads(json.dumps(program_document(read))))
        assert stored == read
        assert describe_differences(stored, read) == []
        assert all(re.match(r"line \d+: \w", line) for line in program_advice(read, text, today=AS_OF.date()))


def sources(raw: bytes) -> None:
    """Any text is a file of sources, or a refusal that names the file and what is wrong."""
    try:
        file = parse_sources(raw.decode("utf-8", "replace"), path="s.yaml")
    except SourcesFileError as error:
        _refused(str(error), "The sources file s.yaml cannot be used:\n")
    else:
        assert file.sources


def frames(raw: bytes) -> None:
    """Whatever a broker sends is messages, or an error of the connection; nothing is made up."""
    pieces = deque([raw[:7], raw[7:], b""])
    reader = FrameReader(lambda _bytes_max: pieces.popleft())
    deliveries: deque[Delivery] = deque()
    handle = delivery_handler(SimpleNamespace(bytes_recv=0), lambda *_method: None, deliveries.append)
    try:
        while True:
            handle(reader.read_frame())
    except (amqp.AMQPError, OSError):
        pass
    assert sum(len(body) for *_, body in deliveries) <= len(raw)


def task(raw: bytes) -> None:
    """Any body of a Celery message is events or says why not; any item of a list is written anew as a message."""
    for event in read_message(in_envelope(raw), limits=LIMITS, now=NOW):
        if not isinstance(event, ReadEvent):
            _explained(event.reason, event.detail)
    for item in (raw, in_envelope(raw), envelope({"task": "loyalty.submit"}, raw)):
        message = open_envelope(rewritten("loyalty.posting", item))
        assert message is not None
        assert message.headers.keys() <= {*KEPT_HEADERS}
        assert message.body == (raw if item is not raw else getattr(open_envelope(raw), "body", b""))


def header(raw: bytes) -> None:
    """Any header frame has a signature or none, and is one that py-amqp reads when it is written anew."""
    found = signature_of_header(raw)
    assert found is None or len(found) <= 200
    _asks(reply_of_header(raw))
    _traced(trace_of_header(raw))
    read: list[Any] = []
    handle = frame_handler(SimpleNamespace(bytes_recv=0), lambda *method: read.append(method[-1]))
    handle((1, 1, b"\0\x3c\0\x3c" + b"\x01x" + bytes(8) + b"\0" + b"\x02\xff\xff" + b"\x01\xff"))
    handle((2, 1, b"\0\x3c\0\0" + bytes(8) + raw[12:]))
    assert read[0].properties.get("application_headers", {}).keys() <= {*KEPT_HEADERS}


def _traced(trace: TraceContext | None) -> None:
    """What is kept of a trace is what the next one keeps of it."""
    assert trace is None or trace_context(*trace) == trace


def _asks(reply: ReplyAddress | None) -> None:
    """What is kept of where an answer goes can be written to a broker and to the database."""
    allowed = None if reply is None else allowed_reply(reply, REPLY_PREFIX)
    if allowed is not None:
        assert len(message_properties("x", correlation_id=allowed.correlation_id)) < 300
        assert len(allowed.reply_to.encode()) <= 255
        assert "\0" not in "".join(filter(None, allowed))


def entry(raw: bytes) -> None:
    """Any fields of a stream entry give bytes that intake reads, and a signature or none."""
    parts = raw.split(b"\0")
    fields = dict(zip(parts[::2], parts[1::2], strict=False))
    found = signature_of_fields(fields)
    assert found is None or len(found) <= 200
    _asks(reply_of_fields(fields))
    _traced(trace_of_fields(fields))
    assert read_message(_payload(fields), limits=LIMITS, now=NOW)


def url(raw: bytes) -> None:
    """Any setting of an address is one, or is refused without showing its password."""
    text = raw.decode("utf-8", "replace").replace("PASSWORD", PASSWORD)
    shown = url_without_password(text)
    is_secret = text.count(PASSWORD) == 1 and f":{PASSWORD}@" in text
    assert not is_secret or PASSWORD not in shown
    for connect in (
        lambda: checked_database_url(text),
        lambda: checked_broker_url(text),
        lambda: _kombu_connection(f"amqps://{text}", shown),
        lambda: open_client(f"rediss://{text}"),
    ):
        refused = _refusal(connect, DatabaseUrlError, BrokerUrlError, UnsupportedBrokerError, BrokerUnavailableError)
        assert not refused or "URL" in refused
        assert not is_secret or PASSWORD not in refused


def events_file(raw: bytes) -> None:
    """Any file is cut into pieces of its own bytes, in their order, and none is empty."""
    at = 0
    for piece in split_events(io.BytesIO(raw)):
        assert piece
        found = raw.find(piece, at)
        assert found >= 0 or b"\xef\xbb\xbf" in raw or b"\r" in raw or b"\n" in piece
        at = max(at, found + len(piece))


PARSERS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function
    for function in (message, task, signature, program, sources, frames, header, entry, url, events_file)
}


def _refusal(attempt: Callable[[], object], *errors: type[Exception]) -> str:
    """What one of these errors says; nothing if there was none."""
    try:
        attempt()
    except errors as error:
        return str(error)
    return ""


def _explained(reason: Reason, detail: str) -> None:
    assert reason in MENDS
    assert detail
    assert detail.isprintable(), detail
    assert len(detail) <= DETAIL_CHARACTERS_MAX, detail


def _refused(text: str, start: str) -> None:
    assert text.startswith(start)
    assert text.removeprefix(start).strip()
    assert all(len(line) <= DETAIL_CHARACTERS_MAX for line in text.splitlines())


def _decided(event: ReadEvent) -> None:
    message, data = read_settled(INBOUND[event.type], event.source, event.occurred_at, event.settled)
    assert message.digest == business_hash(event.settled)
    message = message._replace(program_id=None)
    books = Books(lambda: ACCOUNT_ID, are_whole=True)
    if isinstance(message.fact, Order):
        order = message.fact
        assert read_lines(to_json(data["lines"])) == order.lines
        assert read_attributes(to_json(data.get("attributes", {}))) == order.attributes
        assert read_tags(to_json(data.get("customer_tags", []))) == order.customer_tags
        if isinstance(_decide(books, event.type, message), Decision):
            _decide(books, "order.refunded", Message(_full_refund(order)))
            assert all(account.balance == 0 for account in books.accounts.values())
    elif isinstance(message.fact, Return):
        assert isinstance(_decide(books, event.type, message), Decision | Parked)
    else:
        is_posted = isinstance(_decide(books, "order.completed", Message(_order_of(message.fact))), Decision)
        if isinstance(message.fact, RefundReversion):
            _decide(books, "order.refunded", Message(_undone(message.fact)))
        assert isinstance(_decide(books, event.type, message), Waiting) != is_posted


def _decide(books: Books, event_type: str, message: Message[Any]) -> Outcome:
    outcome = HANDLERS[event_type].decide(books, message, RULES, AS_OF)
    if isinstance(outcome, Parked):
        _explained(outcome.reason, outcome.detail)
    elif isinstance(outcome, Decision):
        before = dict(books.accounts)
        books.apply(outcome)
        for change in outcome.changes:
            had = before.get(change.account.account_id)
            moved = change.account.balance - (0 if had is None else had.balance)
            assert moved == sum(entry.points for entry in change.entries)
            least = -POINTS_MAX if event_type == "order.returned" else 0
            assert least <= change.account.balance <= POINTS_MAX
    return outcome


def _full_refund(order: Order) -> Refund:
    return Refund(order.source, "r", order.order_id, order.occurred_at, True, None, None, ())


def _undone(reversion: RefundReversion) -> Refund:
    source, refund_id, order_id, occurred_at, order_source = reversion
    return Refund(source, refund_id, order_id, occurred_at, True, None, None, (), order_source=order_source)


def _order_of(fact: Refund | Fulfilment | Cancellation | AmendedOrder | RefundReversion) -> Order:
    """An order that the fact fits, as far as one can."""
    customer_id = fact.order.customer_id if isinstance(fact, AmendedOrder) else "c"
    amount = (fact.net or fact.paid) if isinstance(fact, Refund) else None
    parts = fact.lines if isinstance(fact, Refund | Fulfilment | Cancellation) else ()
    lines = [_line_of(part) for part in parts]
    lines = lines or [OrderLine("1", None, _ONE, amount or _ONE, _ONE, LineKind.PRODUCT, ())]
    return Order(*fact.order_key, customer_id, "EUR", fact.occurred_at, tuple(lines), Decimal(0))


def _line_of(part: RefundLine | LinePart) -> OrderLine:
    amount = (part.net or part.paid) if isinstance(part, RefundLine) else None
    return OrderLine(part.line_id, None, part.quantity or _ONE, amount or _ONE, _ONE, LineKind.PRODUCT, ())

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

import amqp

from core.domain.ledger import POINTS_MAX, Account
from core.domain.lots import Lot
from core.domain.orders.accrual import Known, accrual_problem, decide_accrual, decide_guest_order
from core.domain.orders.basket import refund_problem
from core.domain.orders.clawback import decide_cancellation, decide_clawback
from core.domain.orders.facts import Cancellation, Fulfilment, LineKind, Order, OrderLine, Refund
from core.domain.orders.fulfilment import decide_fulfilment
from core.domain.orders.posted import PostedOrder
from core.domain.outcomes import Reason
from core.errors import (
    BrokerUnavailableError,
    DatabaseUrlError,
    ProgramFileError,
    SourcesFileError,
    UnsupportedBrokerError,
)
from core.messages.inbound.reading import (
    ReadEvent,
    StoredCancellation,
    StoredFulfilment,
    StoredOrder,
    StoredRefund,
    business_hash,
    lines_json,
    read_attributes,
    read_lines,
    read_message,
    read_settled,
    read_tags,
)
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
from tests.facts import AS_OF, account, program_with, spend_rule
from tests.messages.inbound_samples import LIMITS, NOW
from workers.bootstrap import checked_addresses
from workers.brokers import url_without_password
from workers.brokers.amqp_frames import Delivery, FrameReader, delivery_handler
from workers.brokers.amqp_link import _kombu_connection
from workers.brokers.signatures import signature_of_fields, signature_of_header
from workers.brokers.streams import _client, _payload
from workers.cli.event_files import split_events

CORPUS = Path(__file__).parent / "corpus"
PROGRAM = program_with(earning_rules=[spend_rule("1000000")])
KEY = SourceKey("k", b"s" * 32, NOW + timedelta(days=1))
SOURCES = Sources({"/shops/high-street": [KEY], "/shops/test": []}, parks_unlisted=True)
PASSWORD = "sesame"
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
    handle = delivery_handler(SimpleNamespace(bytes_recv=0), lambda *_method: None, deliveries)
    try:
        while True:
            handle(reader.read_frame())
    except (amqp.AMQPError, OSError):
        pass
    assert sum(len(body) for _, body, _ in deliveries) <= len(raw)


def header(raw: bytes) -> None:
    """Any header frame has a signature or none."""
    found = signature_of_header(raw)
    assert found is None or len(found) <= 200


def entry(raw: bytes) -> None:
    """Any fields of a stream entry give bytes that intake reads, and a signature or none."""
    parts = raw.split(b"\0")
    fields = dict(zip(parts[::2], parts[1::2], strict=False))
    found = signature_of_fields(fields)
    assert found is None or len(found) <= 200
    assert read_message(_payload(fields), limits=LIMITS, now=NOW)


def url(raw: bytes) -> None:
    """Any setting of an address is one, or is refused without showing its password."""
    text = raw.decode("utf-8", "replace").replace("PASSWORD", PASSWORD)
    shown = url_without_password(text)
    is_secret = text.count(PASSWORD) == 1 and f":{PASSWORD}@" in text
    assert not is_secret or PASSWORD not in shown
    for connect in (
        lambda: checked_addresses(text, text),
        lambda: checked_addresses("postgresql://host", text),
        lambda: _kombu_connection(f"amqps://{text}", shown),
        lambda: _client(f"rediss://{text}"),
    ):
        refused = _refusal(connect, DatabaseUrlError, UnsupportedBrokerError, BrokerUnavailableError)
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
    for function in (message, signature, program, sources, frames, header, entry, url, events_file)
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
    stored = read_settled(event.type, event.source, event.occurred_at, event.settled)
    assert stored.business_hash == business_hash(event.settled)
    match stored:
        case StoredOrder():
            assert lines_json(read_lines(stored.lines_json)) == stored.lines_json
            assert read_lines(stored.lines_json) == stored.order.lines
            assert read_attributes(stored.attributes_json) == stored.order.attributes
            assert read_tags(stored.tags_json) == stored.order.customer_tags
            _decided_order(stored.order)
            _decided_refund(stored.order, _full_refund(stored.order))
        case StoredRefund(refund):
            _decided_refund(_order_of(refund), refund)
        case StoredFulfilment(fulfilment):
            _decided_fulfilment(fulfilment)
        case StoredCancellation(cancellation):
            _decided_cancellation(cancellation)


def _decided_order(order: Order) -> None:
    decide_guest_order(order, PROGRAM, 1)
    decision = decide_accrual(account(), Known(), order, PROGRAM, 1, PROGRAM, as_of=AS_OF)
    if accrual_problem(decision) is None and decision.account is not None:
        assert 0 <= decision.account.balance <= POINTS_MAX
        assert decision.account.balance == sum(entry.points for entry in decision.entries)


def _decided_refund(order: Order, refund: Refund) -> None:
    problem = refund_problem(order, refund)
    if problem is not None:
        _explained(problem.reason, problem.detail)
        return
    before, lots, posted = _posted(order)
    decision = decide_clawback(before, lots, posted, (), refund, PROGRAM, PROGRAM, AS_OF)
    assert decision.account is not None
    assert 0 <= decision.account.balance <= before.balance


def _decided_fulfilment(fulfilment: Fulfilment) -> None:
    order = _order_of(Refund(fulfilment.source, "r", fulfilment.order_id, fulfilment.occurred_at, True, None, ()))
    before, lots, posted = _posted(order)
    decision = decide_fulfilment(before, lots, posted, fulfilment, PROGRAM, AS_OF)
    assert decision.order is not None
    assert (decision.order.fulfilled_at, decision.entries) == (fulfilment.occurred_at, ())


def _decided_cancellation(cancellation: Cancellation) -> None:
    order = _order_of(Refund(cancellation.source, "r", cancellation.order_id, cancellation.occurred_at, True, None, ()))
    before, lots, posted = _posted(order)
    decision = decide_cancellation(before, lots, posted, (), cancellation, PROGRAM, PROGRAM, AS_OF)
    assert decision.account is not None
    assert before.balance > decision.account.balance == 0


def _posted(order: Order) -> tuple[Account, dict[int, Lot], PostedOrder]:
    accrual = decide_accrual(account(), Known(), order, PROGRAM, 1, PROGRAM, as_of=AS_OF)
    assert accrual.order is not None
    return accrual.account or account(), {lot.lot_number: lot for lot in accrual.lots}, accrual.order


def _full_refund(order: Order) -> Refund:
    return Refund(order.source, "r", order.order_id, order.occurred_at, True, None, ())


def _order_of(refund: Refund) -> Order:
    """An order that the refund fits, as far as one can."""
    lines = [
        OrderLine(part.line_id, None, part.quantity or _ONE, part.amount or _ONE, _ONE, LineKind.PRODUCT, ())
        for part in refund.lines
    ]
    lines = lines or [OrderLine("1", None, _ONE, refund.amount or _ONE, _ONE, LineKind.PRODUCT, ())]
    return Order(refund.source, refund.order_id, "c", "EUR", refund.occurred_at, tuple(lines), Decimal(0))

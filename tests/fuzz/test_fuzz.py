"""Hypothesis against each parser: inputs of the corpus, mutated and put together, and bytes of chance."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import CORPUS, PARSERS

EXAMPLES = 60
#: Pieces that mean something to one parser or another.
TOKENS = [
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"\n", b"\0", b"\xff", b"\xce", b"&a ", b"*a", b"!!int ", b"- ", b"? ",
    b"<<: ", b"1e999", b"-0", b"null", b"NaN", b"0x", b"1:1", b"\\ud800", b"\xef\xbb\xbf", b"@", b"%00", b"::1]",
    b"?ssl_cert_reqs=", b"loyalty-signature", b"\0\x3c\0\x3c", b"\xff\xff\xff\xff",
]  # fmt: skip


def seeds(parser: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / parser).iterdir())]


@st.composite
def mutated(draw: st.DrawFn, parser: str) -> bytes:
    """An input of the corpus with some places cut out, doubled or replaced."""
    raw = bytearray(draw(st.sampled_from(seeds(parser))))
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(raw)))
        end = min(len(raw), at + draw(st.integers(0, 12)))
        new = draw(st.sampled_from(TOKENS) | st.binary(max_size=4) | st.just(bytes(raw[at : end + 40])))
        raw[at:end] = new
    return bytes(raw)


@pytest.mark.parametrize("parser", sorted(PARSERS))
def test_any_input_keeps_the_promises_of_its_parser(parser: str) -> None:
    @settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
    @given(mutated(parser) | st.binary(max_size=200))
    def run(raw: bytes) -> None:
        PARSERS[parser](raw)

    run()


AMOUNTS = st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,4})?", fullmatch=True)
QUANTITIES = st.integers(1, 10**12 - 1) | st.from_regex(r"0{0,3}[1-9][0-9]{0,8}(\.[0-9]{1,3})?", fullmatch=True)
IDS = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
LINES = st.lists(
    st.fixed_dictionaries(
        {"line_id": IDS, "quantity": QUANTITIES, "amount": AMOUNTS},
        optional={
            "tax": AMOUNTS | st.none(),
            "kind": st.sampled_from(["product", "shipping", "fee", "tip", "gift_card", None]),
            "categories": st.lists(IDS, max_size=3),
        },
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda line: line["line_id"],
)
SOURCES = st.sampled_from(["/shops/high-street", "/shops/test"])


def event(kind: str, data: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[bytes]:
    attributes = st.fixed_dictionaries(
        {"id": IDS, "source": SOURCES, "type": st.just(kind), "time": st.just("2026-03-01T10:00:00Z"), "data": data}
    )
    return attributes.map(lambda found: json.dumps(found).encode())


ORDERS = event(
    "order.completed",
    st.fixed_dictionaries(
        {"order_id": IDS, "currency": st.just("EUR"), "lines": LINES},
        optional={
            "customer_id": IDS,
            "points_paid": AMOUNTS,
            "attributes": st.dictionaries(IDS, st.text() | st.integers(-9, 9)),
            "customer_tags": st.lists(IDS, max_size=3),
        },
    ),
)
REFUNDS = event(
    "order.refunded",
    st.fixed_dictionaries({"refund_id": IDS, "order_id": IDS})
    .flatmap(lambda ids: st.sampled_from(["lines", "paid", "net", "full"]).map(lambda way: (ids, way)))
    .flatmap(
        lambda found: {
            "lines": LINES.map(
                lambda lines: [
                    {"line_id": line["line_id"], "quantity": line["quantity"], "net": line["amount"]} for line in lines
                ]
            ),
            "paid": AMOUNTS,
            "net": AMOUNTS,
            "full": st.just(True),
        }[found[1]].map(lambda value: {**found[0], found[1]: value})
    ),
)
PARTS = st.lists(
    st.fixed_dictionaries({"line_id": IDS}, optional={"quantity": QUANTITIES}),
    min_size=1,
    max_size=3,
    unique_by=lambda part: part["line_id"],
)
KINDS_OF_PARTS = {"order.fulfilled": "fulfilment_id", "order.cancelled": "cancellation_id"}
ABOUT_ORDERS = st.sampled_from(sorted(KINDS_OF_PARTS)).flatmap(
    lambda kind: event(
        kind,
        st.fixed_dictionaries({"order_id": IDS}, optional={"program_id": IDS | st.none(), "order_source": SOURCES})
        | st.fixed_dictionaries({"order_id": IDS, "lines": PARTS}, optional={KINDS_OF_PARTS[kind]: IDS}),
    )
)
AMENDMENTS = event(
    "order.amended",
    st.fixed_dictionaries(
        {"order_id": IDS, "revision": st.integers(1, 10**9), "currency": st.just("EUR"), "lines": LINES},
        optional={"customer_id": IDS, "order_source": SOURCES, "points_paid": AMOUNTS},
    ),
)
REVERSIONS = event(
    "order.refund_reverted",
    st.fixed_dictionaries({"refund_id": IDS, "order_id": IDS}, optional={"order_source": SOURCES}),
)
RETURNS = event(
    "order.returned",
    st.fixed_dictionaries({"return_id": IDS, "customer_id": IDS, "currency": st.just("EUR"), "lines": LINES}),
)
EVENTS = ORDERS | REFUNDS | ABOUT_ORDERS | AMENDMENTS | REVERSIONS | RETURNS


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(st.lists(EVENTS, min_size=1, max_size=2))
def test_what_the_contract_allows_is_read_read_again_and_decided(events: list[bytes]) -> None:
    for raw in (events[0], b"[" + b",".join(events) + b"]"):
        PARSERS["message"](raw)

"""Hypothesis looks for input whose handling takes unreasonably much work for its bytes.

A stranger may send as many messages as the broker takes, so what one of them costs decides whether intake stands. The
bounds below are some times what is usual; what was found by breaking them is mended where it was found.
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st

from core.errors import ProgramFileError, SourcesFileError
from core.messages.inbound.celery_messages import SUBMIT_TASK, envelope
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.reading import MessageLimits, ReadEvent, read_message, read_settled
from core.messages.inbound.sources_file import parse_sources
from core.messages.program_files.program_file import parse_program
from core.messages.yaml_source import PROBLEMS_TOLD_MAX
from tests.factories import PROGRAM_TEXT
from tests.fuzz.cost import cost_of
from tests.messages.inbound_samples import CANCELLATION, NOW, ORDER, REFUND

LIMITS = MessageLimits(message_bytes_max=1_048_576, array_events_max=1_000, clock_skew_seconds_max=86_400)
EXAMPLES = 30
MESSAGE_BYTES_MAX = 20_000
#: How often a piece of some bytes is repeated.
TIMES = st.sampled_from([1, 3, 20, 100, 300])
SOURCES_TEXT = (
    "unlisted: park\nsources:\n- source: /a\n  keys:\n  - {key_id: k, secret_variable: V}\n"
    "  commands:\n  - {command: credit}\n"
)


class Bound(NamedTuple):
    """What an input may cost at most."""

    lines: int  #: whatever it is: what is looked up to explain it
    lines_per_event: int
    lines_per_byte: int
    memory_bytes: int
    memory_per_byte: int


MESSAGE = Bound(lines=60_000, lines_per_event=500, lines_per_byte=2, memory_bytes=400_000, memory_per_byte=400)
FILE = Bound(lines=300_000, lines_per_event=0, lines_per_byte=130, memory_bytes=1_500_000, memory_per_byte=1_500)


def hold(work: Callable[[], object], size_bytes: int, events: int, bound: Bound) -> float:
    """Run the work within its bound; the part of it that it took, for hypothesis to make greater."""
    cost = cost_of(work)
    lines_max = bound.lines + bound.lines_per_event * events + bound.lines_per_byte * size_bytes
    memory_max = bound.memory_bytes + bound.memory_per_byte * size_bytes
    assert cost.lines <= lines_max, f"{cost.lines:,} lines for {size_bytes:,} bytes"
    assert cost.memory_bytes <= memory_max, f"{cost.memory_bytes:,} bytes of memory for {size_bytes:,}"
    return max(cost.lines / lines_max, cost.memory_bytes / memory_max)


def read(raw: bytes) -> None:
    """Read a message, and what posting reads of it."""
    for event in read_message(raw, limits=LIMITS, now=NOW):
        if isinstance(event, ReadEvent):
            read_settled(INBOUND[event.type], event.source, event.occurred_at, event.settled)


NAMES = ["currency", "order_id", "lines", "line_id", "amount", "quantity", "kind", "data", "attributes", "time", "type"]
#: Names that look a little like one that is wanted.
NEARLY = st.builds(lambda name, cut: f"{name[:cut]}~", st.sampled_from(NAMES), st.integers(2, 7))
LINE = {"line_id": "1", "quantity": 1, "amount": "1.00"}
#: Is put into the text of a message without its quotes.
AS_IT_IS = "as it is: "
ATOMS: list[Any] = [
    None, True, 0, -1, "", "EUR", "gbp", "EURO", "shiping", "2026-03-01T10:00:00", [], {}, 10**3_999, "x" * 5_000,
    "e" * 5_000, "9" * 5_000, "1:" * 2_500, "\0" * 1_000, "😀" * 1_000, " " * 5_000,
    *(f"{AS_IT_IS}{number}" for number in ("1e999999", "-1E400", "1e-999999", "0." + "1" * 3_000)),
]  # fmt: skip


#: Makes a value of an atom, a name and a number of times: many of them, or one in another in another.
SHAPES: list[Callable[[Any, str, int], Any]] = [
    lambda atom, _name, _times: atom,
    lambda atom, _name, times: [atom] * times,
    lambda _atom, name, times: {f"{name}{number}": 1 for number in range(times)},
    lambda _atom, name, times: [{f"{name}{number}": number} for number in range(times)],
    lambda atom, _name, times: [{**LINE, "line_id": f"{number}", "amount": atom} for number in range(times)],
    lambda _atom, _name, times: json.loads("[" * min(times, 150) + "]" * min(times, 150)),
    lambda _atom, _name, times: json.loads('{"a":' * min(times, 150) + "1" + "}" * min(times, 150)),
]


#: Data of orders, at which reading once took a thousand times as long as at others of as many bytes.
KNOWN: list[Any] = [
    {f"curenc~{number}": 1 for number in range(50)},
    {**ORDER["data"], "lines": [{}] * 300},
    {**ORDER["data"], "lines": [LINE] * 300},
    {**ORDER["data"], "currency": "EUR~"},
    {},
]
VALUES = st.builds(lambda shape, *given: shape(*given), st.sampled_from(SHAPES), st.sampled_from(ATOMS), NEARLY, TIMES)


def written(event: dict[str, Any], times: int, *, is_each_other: bool) -> tuple[bytes, int]:
    """An event, or an array of as many as make a message of some size; and how many they are."""
    one = re.sub(f'"{AS_IT_IS}([^"]*)"', r"\1", json.dumps(event, separators=(",", ":")))
    times = min(times, 1 + MESSAGE_BYTES_MAX // len(one))
    # Each other than the ones before, so that nothing that was looked up helps.
    events = [one.replace("~", f"{number}") if is_each_other else one for number in range(times)]
    return (f"[{','.join(events)}]" if times > 1 else one).encode(), times


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, int]:
    """An event with some of its fields taken out or made odd, once or many times."""
    event = json.loads(json.dumps(draw(st.sampled_from([ORDER, REFUND, CANCELLATION]))))
    for _ in range(draw(st.integers(1, 4))):
        part = event["data"] if draw(st.booleans()) and isinstance(event.get("data"), dict) else event
        name = draw(st.sampled_from([*part, *NAMES]))
        if draw(st.booleans()):
            part.pop(name, None)
        else:
            part[name] = draw(VALUES)
    return written(event, draw(TIMES), is_each_other=draw(st.booleans()))


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(messages())
def test_no_message_costs_much_more_than_its_bytes(message: tuple[bytes, int]) -> None:
    raw, events = message
    target(hold(lambda: read(raw), len(raw), events, MESSAGE))


@pytest.mark.parametrize("is_each_other", [False, True])
@pytest.mark.parametrize("data", KNOWN, ids=range(len(KNOWN)))
def test_what_was_found_costs_no_more_either(data: Any, is_each_other: bool) -> None:
    raw, events = written({**ORDER, "data": data}, 1_000, is_each_other=is_each_other)
    hold(lambda: read(raw), len(raw), events, MESSAGE)


@pytest.mark.parametrize(
    "value",
    [{"__type__": "decimal", "__value__": "1e999999999"}, {"__type__": "decimal", "__value__": "9" * 5_000}, {}, "x"],
    ids=["exponent", "digits", "objects", "text"],
)
def test_what_comes_through_celery_costs_no_more_either(value: Any) -> None:
    given = {**ORDER, "data": {**ORDER["data"], "attributes": {f"a{number}": value for number in range(300)}}}
    raw = envelope({"task": SUBMIT_TASK}, json.dumps([[given], {}, {}]).encode())
    hold(lambda: read(raw), len(raw), 1, MESSAGE)


PIECES = [
    "curenc{n}: 1\n", "a{n}:\n", "a: 1\n", "- {{}}\n", "- x\n", "- [\n", "a{n}: &b{n} [*b, *b]\n", "x, ", "{{a: ", "[",
    "- ", "1:1", "9", "? ", "'", "a{n}: 1e999999\n", "<<: *a\n", "!!int x\n", "a{n}: !!timestamp soon\n", "# \n", "\n",
    "  - {{rule_idd: a{n}, kindd: spend, pts: {{bronze: '1'}}}}\n", "  - {{tier_id: t{n}, threshold_points: {n}}}\n",
    "  - {{source: /s{n}, keys: [{{key_id: a}}, {{key_id: a}}]}}\n",
]  # fmt: skip


def changed(text: str, at: int, piece: str, times: int) -> str:
    """Put a piece into a file before line `at`, many times."""
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:at], *(piece.format(n=number) for number in range(times)), *lines[at:]])


def parse(text: str, of: Callable[..., object]) -> float:
    """Read a file, or say why not, within its bound; the part of it that it took."""
    said: list[str] = []

    def work() -> None:
        try:
            of(text, path="f.yaml")
        except (ProgramFileError, SourcesFileError) as error:
            said.append(str(error))

    part = hold(work, len(text), 0, FILE)
    assert all(len(text.splitlines()) <= PROBLEMS_TOLD_MAX + 2 for text in said)
    return part


FILES = [(PROGRAM_TEXT, parse_program), (SOURCES_TEXT, parse_sources)]


@settings(max_examples=EXAMPLES // 3, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(FILES), st.integers(0, 20), st.sampled_from(PIECES), st.sampled_from([3, 100]))
def test_no_file_costs_much_more_than_its_bytes(
    file: tuple[str, Callable[..., object]], at: int, piece: str, times: int
) -> None:
    target(parse(changed(file[0], at, piece, times), file[1]))


@pytest.mark.parametrize("piece", [piece for piece in PIECES if "{n}" in piece])
def test_a_file_that_ends_with_the_same_piece_many_times_costs_no_more_either(piece: str) -> None:
    text, of = FILES["source" in piece]
    parse(changed(text, 1_000, piece, 100), of)

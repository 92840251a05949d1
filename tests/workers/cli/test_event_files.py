"""How a file is cut into events: nothing is lost, and every event keeps its bytes."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from workers.brokers.large_messages import BATCH_BYTES_MAX
from workers.cli.event_files import in_batches, split_events


def split(text: str | bytes) -> list[bytes]:
    return list(split_events(BytesIO(text.encode() if isinstance(text, str) else text)))


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ('{"id":1}', [b'{"id":1}']),
        ('{\n  "id": 1\n}\n', [b'{\n  "id": 1\n}']),
        ('{"id":1}\n\n{"id" : 2}\r\n', [b'{"id":1}', b'{"id" : 2}']),
        ('[{"id":1}, {"id" : 2}]', [b'{"id":1}', b'{"id" : 2}']),
        ('[\n  {"id":1},\n  {"id" : [1, "],["]}\n]\n', [b'{"id":1}', b'{"id" : [1, "],["]}']),
        ('[{"id":1}]\n[{"id":2}]\n', [b'{"id":1}', b'{"id":2}']),
        ('\ufeff\n{"id":"é"}\n', ['{"id":"é"}'.encode()]),
        ("[]", [b"[]"]),
        ("", []),
        ("\n \r\n\t\n", []),
    ],
)
def test_an_event_an_array_or_one_event_per_line(text: str, events: list[bytes]) -> None:
    assert split(text) == events


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (b'{"id":1}\n{broken\n{"id":2}', [b'{"id":1}', b"{broken", b'{"id":2}']),
        (b'{broken\n{"id":2}\n', [b"{broken", b'{"id":2}']),
        (b'{"id":1}\n\xff\xfe\n', [b'{"id":1}', b"\xff\xfe"]),
        (b'{\n  "id": 1,\n', [b'{\n  "id": 1,']),
        (b'[{"id":1},\n', [b'[{"id":1},']),
        (b"\xff\xfe\x00", [b"\xff\xfe\x00"]),
        (b"[" * 100_000, [b"[" * 100_000]),
    ],
)
def test_what_is_no_json_is_handed_on_for_intake_to_explain(text: bytes, events: list[bytes]) -> None:
    assert split(text) == events


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), JSON, max_size=3), min_size=1, max_size=5), st.sampled_from([None, 2]))
def test_an_array_and_its_lines_are_the_same_events(events: list[object], indent: int | None) -> None:
    each = [to_json(event) for event in events]
    assert split(b"\n".join(each)) == each
    assert split(b"[" + b" ,\n".join(each) + b"]") == each
    if indent is not None and len(events) == 1:
        assert split(to_json(events[0], indent=indent)) == [to_json(events[0], indent=indent)]


def test_batches_are_full_but_for_the_last() -> None:
    assert [len(batch) for batch in in_batches([b""] * 5, 2)] == [2, 2, 1]
    large = b"x" * (BATCH_BYTES_MAX // 2)
    assert [len(batch) for batch in in_batches([b"1", large, large, b"2", large * 3, b"3"], 9)] == [2, 2, 1, 1]

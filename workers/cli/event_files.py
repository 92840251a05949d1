"""Files of events as people have them: one JSON event, an array, or one event per line (NDJSON)."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from pydantic_core import from_json

from workers.brokers.large_messages import BATCH_BYTES_MAX

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SPACE = re.compile(r"[ \t\n\r]*")
# Numbers stay text here: Python refuses to make an integer of more than 4,300 digits.
_scan = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).raw_decode


def split_events(stream: BinaryIO) -> Iterator[bytes]:
    """Cut a file into its events, each with its own bytes; blank lines are skipped.

    Lines are read one by one, so a file of any length may be given. What is no JSON is handed on as it is: a line, or
    the whole file when no line of it is an event; intake says what is wrong with it.
    """
    first = b""
    for line in stream:
        first = line.removeprefix(_BYTE_ORDER_MARK)
        if first.strip():
            break
    if not first.strip():
        return
    if _is_json(first):
        yield from _events_of(first.strip())
        for line in stream:
            if line.strip():
                yield from _events_of(line.strip())
        return
    whole = first + stream.read()
    lines = [line.strip() for line in whole.split(b"\n") if line.strip()]
    if not _is_json(whole) and any(line.startswith(b"{") and _is_json(line) for line in lines):
        for line in lines:
            yield from _events_of(line)
    else:
        yield from _events_of(whole.strip())


def in_batches(events: Iterable[bytes], batch_events: int) -> Iterator[list[bytes]]:
    """Group events into lists of at most `batch_events`, and of as many as are held together."""
    batch: list[bytes] = []
    left_bytes = BATCH_BYTES_MAX
    for event in events:
        left_bytes -= len(event)
        if batch and (len(batch) == batch_events or left_bytes < 0):
            yield batch
            batch, left_bytes = [], BATCH_BYTES_MAX - len(event)
        batch.append(event)
    if batch:
        yield batch


def _events_of(raw: bytes) -> list[bytes]:
    """Give the elements of an array; anything else as it is."""
    if raw[:1] != b"[" or not _is_json(raw):
        return [raw]
    try:
        return list(_elements(raw.decode())) or [raw]
    except (ValueError, RecursionError):
        return [raw]


def _elements(text: str) -> Iterator[bytes]:
    """Cut a JSON array, known to be right, at its commas."""
    at = _skip_space(text, 1)
    while text[at] != "]":
        _, end = _scan(text, at)
        yield text[at:end].encode()
        at = _skip_space(text, end)
        if text[at] == ",":
            at = _skip_space(text, at + 1)


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _is_json(raw: bytes) -> bool:
    try:
        from_json(raw)
    except ValueError:
        return False
    return True

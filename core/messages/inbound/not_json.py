"""Says what a message is that is no JSON, or is JSON once too often, and how to mend that."""

import re
from base64 import b64decode

NO_NUMBER = "NaN or Infinity"
_UTF_8_MARK = b"\xef\xbb\xbf"
#: How messages begin that were compressed.
_COMPRESSED = {b"\x1f\x8b": "gzip", b"x\x01": "zlib", b"x\x9c": "zlib", b"x\xda": "zlib", b"\x28\xb5\x2f\xfd": "zstd"}
_BASE64 = re.compile(rb"\s*[A-Za-z0-9+/_-]{8}[A-Za-z0-9+/_\s-]*={0,2}\s*")
#: Zeros stand between the letters of UTF-16 and UTF-32, where a message in UTF-8 has none.
_LETTERS_LOOKED_AT = 8


def not_json_detail(body: bytes, what: str) -> str:
    """Word why `body` is no JSON; `what` is the parser's word for it."""
    if body.startswith(_UTF_8_MARK):
        return "the message starts with a byte order mark; send UTF-8 without one"
    if what == NO_NUMBER:
        return f"the message holds {what}; JSON knows neither, leave the field out or write null"
    what = what.removeprefix("Invalid JSON: ")
    if "recursion" in what:
        return f"the message is nested too deeply ({what}); send at most 100 levels"
    return _other_form(body) or f"the message is not JSON in UTF-8: {what}"


def json_in_string(value: object) -> str | None:
    """How to mend a value that is JSON once more, in a string; None: it is none."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        return "it looks like JSON that was encoded twice: send the object itself, not a string that holds its JSON"
    return None


def _other_form(body: bytes) -> str | None:
    """What the message was made into after it was written, as its first bytes show; None: nothing that is known."""
    if (packed := _compression(body)) is not None:
        return f"the message is compressed with {packed}; send the JSON itself, without compression"
    if body[:2] in {b"\xff\xfe", b"\xfe\xff"} or _begins_wide(body):
        return "the message is in UTF-16 or UTF-32; write the JSON in UTF-8"
    if _BASE64.fullmatch(body):
        start = b64decode(body.split()[0][:8].replace(b"-", b"+").replace(b"_", b"/").ljust(8, b"A"))
        if start.lstrip()[:1] in {b"{", b"["}:
            return "the message is JSON in base64; send the JSON itself"
        if (packed := _compression(start)) is not None:
            return f"the message is base64 of what {packed} compressed; send the JSON itself"
    return None


def _compression(start: bytes) -> str | None:
    return next((name for magic, name in _COMPRESSED.items() if start.startswith(magic)), None)


def _begins_wide(body: bytes) -> bool:
    """Whether zeros stand beside the bracket with which JSON begins."""
    start = body[:_LETTERS_LOOKED_AT]
    return b"\x00" in start[:4] and start.replace(b"\x00", b"")[:1] in {b"{", b"[", b'"'}

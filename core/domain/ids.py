"""How an id may be written: two that look the same to a person are the same id."""

import re

#: Characters that nobody sees or that pass for a blank, as pairs of first and last: controls, blanks of other widths,
#: joiners, marks of direction, fillers, selectors of variants, tags.
_UNSEEN = (
    (0x00, 0x1F), (0x7F, 0xA0), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x1680, 0x1680),
    (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x206F), (0x2800, 0x2800),
    (0x3000, 0x3000), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB),
    (0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _in_class(code: int) -> str:
    # \uXXXX is read by every dialect of regular expressions that schemas meet; beyond it no escape is.
    return f"\\u{code:04x}" if code <= 0xFFFF else chr(code)  # noqa: PLR2004  # what four digits hold


_CLASS = "".join(f"{_in_class(first)}-{_in_class(last)}" for first, last in _UNSEEN)
_UNSEEN_CHARACTER = re.compile(f"[{_CLASS}]")


def id_pattern(*, but: str = "") -> str:
    """The regular expression of an id, without the characters of `but`: no unseen ones, no blank at either end."""
    return f"^[^{_CLASS}{but} ](?:[^{_CLASS}{but}]*[^{_CLASS}{but} ])?$"


def oddity(text: str) -> str | None:
    """What keeps `text` from being an id, to stand behind "a text"; None if these rules do not."""
    if _CONTROLS.search(text):
        return ", with control characters"
    if unseen := _UNSEEN_CHARACTER.search(text):
        return f", with a character that cannot be seen (U+{ord(unseen[0]):04X})"
    ends = [verb for verb, is_odd in (("begins", text[:1] == " "), ("ends", text[-1:] == " ")) if is_odd]
    return f" that {' and '.join(ends)} with a blank" if ends else None

"""Times that no contract takes: the detail says what is wrong with the one at hand."""

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages.inbound.fields import TIME_PATTERN
from core.messages.inbound.wrong_times import time_advice
from tests.messages.inbound_samples import LIMITS, ORDER, changed, read_one, refused

ONLY_NO_BLANK = 'write "T" between the date and the time'
ONLY_OFFSET = 'write the offset from UTC as "Z" or with hours and minutes, such as "+02:00"'
RANGE_OF_OFFSETS = "an offset from UTC has hours from 00 to 23 and minutes from 00 to 59"
RANGE_OF_CLOCKS = "hours go from 00 to 23 and minutes from 00 to 59"


@pytest.mark.parametrize(
    ("time", "told"),
    [
        ("2016-12-31T23:59:60Z", "a leap second is not taken: write 59 in its place"),
        ("2026-01-31T09:30:61Z", "seconds go from 00 to 59"),
        ("2026-01-31T24:00:00Z", RANGE_OF_CLOCKS),
        ("2026-01-31T09:60:00Z", RANGE_OF_CLOCKS),
        ("1969-12-31T23:59:59Z", "nothing before 1970 is taken"),
        ("1970-01-01T00:30:00+01:00", "nothing before 1970 is taken"),
        ("0001-01-01T00:00:00+14:00", "nothing before 1970 is taken"),
        ("0000-01-01T00:00:00Z", "there is no year 0000"),
        ("9999-12-31T23:59:59-01:00", "its year has five digits"),
        ("2026-01-31T09:30:00.1234567891Z", "a second has at most 9 decimals"),
        ("2026-02-29T00:00:00Z", "there is no such day: 2026-02 has 28 days"),
        ("2024-02-30T00:00:00Z", "there is no such day: 2024-02 has 29 days"),
        ("2026-04-31 09:30:00", "there is no such day: 2026-04 has 30 days"),
        ("2026-13-01T00:00:00Z", "there is no month 13"),
        ("2026-01-31T09:30:00+05:75", RANGE_OF_OFFSETS),
        ("2026-01-31T09:30:00+00:99", RANGE_OF_OFFSETS),
        ("2026-01-31T09:30:00-24:00", RANGE_OF_OFFSETS),
        ("2026-01-31T09:30:00+0100", ONLY_OFFSET),
        ("2026-01-31T09:30:00+01", ONLY_OFFSET),
        ("2026-01-31T09:30:00UTC", ONLY_OFFSET),
        ("2026-01-31T09:30:00,5Z", "write a point before the decimals"),
        ("2026-01-31 09:30:00Z", ONLY_NO_BLANK),
        ("2026-01-31T09:30:00 +01:00", ONLY_NO_BLANK),
        ("2026-01-31T09:30Z", 'the seconds are missing: write "2026-01-31T09:30:00"'),
        ("2026-01-31 09:30:00", 'the offset from UTC is missing: write "2026-01-31T09:30:00Z" if it is UTC'),
        ("2026-01-31T09:30:00.25", 'the offset from UTC is missing: write "2026-01-31T09:30:00Z" if it is UTC'),
        ("2026-01-31", "write the date, time and offset of RFC 3339"),
        ("yesterday", "write the date, time and offset of RFC 3339"),
    ],
)
def test_the_detail_says_what_is_wrong_with_a_time(time: str, told: str) -> None:
    assert told in refused(changed(ORDER, "time", time)).detail


def test_the_times_of_commands_are_told_the_same() -> None:
    credit = {
        **ORDER,
        "type": "loyalty.command.credit",
        "data": {"customer_id": "c-1", "points": 5, "expires_at": "2026-02-29T00:00:00Z"},
    }
    detail = refused(credit, LIMITS._replace(is_trusted=True)).detail
    assert 'data.expires_at is the string "2026-02-29T00:00:00Z"; there is no such day' in detail


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from("+-"))
def test_an_offset_is_taken_where_rfc_3339_has_it_and_else_told(hours: int, minutes: int, sign: str) -> None:
    event = changed(ORDER, "time", f"2026-02-20T12:00:00{sign}{hours:02}:{minutes:02}")
    if hours < 24 and minutes < 60:
        ahead = timedelta(hours=hours, minutes=minutes) * (1 if sign == "+" else -1)
        noon = read_one(changed(ORDER, "time", "2026-02-20T12:00:00Z")).occurred_at
        assert read_one(event).occurred_at == noon - ahead
    else:
        assert RANGE_OF_OFFSETS in refused(event).detail


NUMBERS = st.integers(0, 99).map(lambda number: f"{number:02}")
NEARLY = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["0000", "0001", "1969", "1970", "2026", "9999"]), st.just("-"), NUMBERS, st.just("-"), NUMBERS,
        st.sampled_from(["T", "t", " "]), NUMBERS, st.just(":"), NUMBERS, st.sampled_from(["", ":00", ":59", ":60"]),
        st.sampled_from(["", ".5", ",5", ".1234567891"]),
        st.sampled_from(["", "Z", "z", " Z", "UTC", "+0100", "+01:00", "-23:59", "+24:00", "+05:75", "+14:00"]),
    ),
)  # fmt: skip


@given(NEARLY)
def test_whatever_is_nearly_a_time_gets_advice_of_its_own(time: str) -> None:
    advice = time_advice(time)
    assert advice is not None
    assert "RFC 3339" not in advice
    if re.search(TIME_PATTERN, time):
        assert any(word in advice for word in ("no such", "there is no", "go from", "leap", "1970", "five digits"))

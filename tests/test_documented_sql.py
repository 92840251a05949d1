"""Every SQL query of the README and the docs gives what the sentence above it promises, on books of known content."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from core.messages.program_files.program_file import parse_program
from core.store.programs import append_change, append_version
from tests.factories import PROGRAM_TEXT, order, refund
from tests.pages import PAGES, sql_queries
from tests.shell import Shell

QUERIES = {sentence: query for page in PAGES for sentence, query in sql_queries(page)}
#: What each query finds in `books`, by the beginning of the sentence above it.
ANSWERS: dict[str, list[tuple[object, ...]]] = {
    "Points that customers could use now": [("held", 0, 70, 0, 0), ("test", 210, 0, 40, 25)],
    "What happened to points in a month": [
        ("held", "accrual", 1, 0, 70),
        ("test", "accrual", 3, 325, 0),
        ("test", "clawback", 1, -50, 0),
    ],
    "Points that each program owes, by tier": [("held", "bronze", 1, 70), ("test", "bronze", 4, 350)],
    "**Scaling.** A worker posts": [(0,)],
    "Which points expire unused": [("test", "2090-01", 60), ("test", "2090-02", 100)],
}
HELD = PROGRAM_TEXT.replace("program_id: test", "program_id: held").replace("/shops/test", "/shops/held")
HELD += "availability: {policy: on_fulfilled}\n"
#: Good for the whole of 31 January and of 1 February in Berlin; over, though the task has not come; without an end.
ENDS = {"january": "2090-01-31T23:00Z", "february": "2090-02-01T23:00Z", "over": "2026-06-01T22:00Z", "never": None}


@pytest.fixture
def books(engine: Engine) -> Engine:
    """Two programs: pending and reserved points, a deficit, and an order that was recorded before the month."""
    shell = Shell(engine)
    shell.apply_program(HELD)
    points = {"january": 60, "february": 100, "over": 125, "never": 100}
    shell.take(*(order(name, f"{points[name]}.00", customer_id=name) for name in ENDS))
    shell.take(order("held", "70.00", customer_id="held", source="/shops/held"), refund("r", "never", net="50.00"))
    for name, end in ENDS.items():
        shell.execute("UPDATE lots SET expires_at = :end WHERE origin_id = :name", end=end, name=name)
    shell.execute("UPDATE accounts SET balance = balance - 25, deficit = 25 WHERE customer_id = 'over'")
    shell.execute("UPDATE accounts SET reserved = 40 WHERE customer_id = 'never'")
    shell.execute(
        "UPDATE entries SET recorded_at = CASE WHEN order_id = 'january' THEN timestamptz '2026-10-31T23:59Z'"
        " ELSE timestamptz '2026-11-30T23:59Z' END"
    )
    apply_versions_that_are_not_in_force(engine)
    return engine


def apply_versions_that_are_not_in_force(engine: Engine) -> None:
    """One that was moved to a later day, and one that was withdrawn: both count days in zones of their own."""
    for zone, moved_to in (("Asia/Tokyo", datetime(2095, 1, 1, tzinfo=UTC)), ("Asia/Seoul", None)):
        written = PROGRAM_TEXT.replace("Europe/Berlin", zone)
        with engine.begin() as connection:
            version = append_version(connection, parse_program(written, path="x.yaml"), written, None)
            assert version is not None
            append_change(connection, version, moved_to, "kim", "too early")


@pytest.mark.parametrize("sentence", QUERIES)
def test_a_documented_query_finds_what_its_sentence_says(sentence: str, books: Engine) -> None:
    (answer,) = (rows for beginning, rows in ANSWERS.items() if sentence.startswith(beginning))
    with books.begin() as connection:
        assert [tuple(row) for row in connection.execute(text(QUERIES[sentence]))] == answer


def test_every_answer_belongs_to_a_query() -> None:
    assert len(QUERIES) == len(ANSWERS)

"""A file of bad rows that nobody has mended is as bad as the file that it comes from, whatever stands in that."""

import re
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.importing.files import BadRow, ImportFile, bad_among, grouped
from core.importing.order_rows import LAYOUT
from workers.cli.bad_rows import BadRowsFile

NAMES = ("order_id", "time", "currency", "amount", "tax")
ROWS_MAX = 50
#: A cell, or what looks like several, or like a part of one.
CELLS = ["5001", "5002", "", " ", "1,250.00", '"1,250.00"', '"', '"x"y', 'x"', "a;b", "caf\udce9", "\0", "\r", '"\n"']


def read(content: bytes) -> tuple[ImportFile, list[BadRow], int]:
    """The file, its bad records, and how many others it has."""
    source = ImportFile(BytesIO(content), "orders", LAYOUT)
    found = grouped(source.records(), ("order_id",), ROWS_MAX)
    groups = list(found) if source.is_csv else [[record] for record in source.records()]
    bad = [each for each in map(bad_among, groups) if each is not None]
    return source, bad, len(groups) - len(bad)


def file_of_bad_rows(content: bytes) -> bytes:
    source, bad, _ = read(content)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bad"
        with BadRowsFile(path, source) as written:
            written.write(bad)
        return path.read_bytes()


def problems(content: bytes) -> list[str]:
    """Without the numbers of lines and of cells, which are those of each file."""
    return [re.sub(r"\d+", "N", bad.problem) for bad in read(content)[1]]


def written_again(content: bytes) -> None:
    expected = problems(content)
    if not expected:
        return
    for _ in range(2):
        content = file_of_bad_rows(content)
        assert read(content)[2] == 0, content
        # Which rows are of one record nobody can say where quotes are missing, and of each record one problem is told.
        assert {*problems(content)} >= {*expected}, content


@given(st.lists(st.lists(st.sampled_from(CELLS), min_size=1, max_size=7), max_size=8), st.sampled_from(",;\t"))
@example([["7001", "2026-05-01", "GBP", "1", "250.00", "0.00"]], ",")
@example([["7001", "2026-05-01", "GBP", "250.00"]], ",")
@example([["5001", "", "", "", "", "7"], ["5001", '"', "x"], ["5001"]], ";")
@example([['"\n"', '"1,250.00"', '"', '"\n"', '"1,250.00"']], ",")
def test_rows_of_csv_that_are_bad_stay_bad_in_the_file_of_bad_rows(rows: list[list[str]], separator: str) -> None:
    lines = [separator.join(NAMES), *(separator.join(row) for row in rows)]
    written_again("\n".join(lines).encode(errors="surrogateescape"))


@given(
    st.lists(
        st.sampled_from(['{"order_id": "1"}', "nonsense", "[]", '{"x": 1}', '{"lines": NaN}', "{", '{"a":']), max_size=6
    )
)
def test_lines_of_json_that_are_bad_stay_bad_in_the_file_of_bad_rows(lines: list[str]) -> None:
    written_again("\n".join(['{"order_id": "0"}', *lines, '{"caf\udce9": 1}']).encode(errors="surrogateescape"))


@pytest.mark.parametrize("place", range(len(NAMES) + 1))
def test_a_column_of_problems_may_stand_anywhere(place: int) -> None:
    names = [*NAMES[:place], "problem", *NAMES[place:]]
    for width in range(1, 9):
        written_again((",".join(names) + "\n" + ",".join(["7"] * width) + "\n").encode())


def test_every_byte_of_a_bad_row_is_kept() -> None:
    rows = [b'7001,"a;b", x ,"1,250.00",,,9\r\n', b'7002,"x"y,,\n', b"7003,caf\xe9,,,\n", b'7004,"\n7005,,,']
    content = file_of_bad_rows((",".join(NAMES) + "\n").encode() + b"".join(rows))
    assert all(row in content for row in rows)


@pytest.mark.parametrize("row", ["5001,,,,,9", "5001,,", '5001,"x"y,,,', "5001,caf\udce9,,,"])
def test_an_order_of_which_one_row_is_bad_is_bad_as_a_whole(row: str) -> None:
    around = "5001,2026-05-01,GBP,1.00,\n"
    lines = f"{','.join(NAMES)}\n{around}{row}\n{around}5002,2026-05-01,GBP,1.00,\n"
    _, [bad], others = read(lines.encode(errors="surrogateescape"))
    assert (bad.line, len(bad.raw), others) == (3, 3, 1)


def test_records_that_stood_apart_stay_apart_in_the_file_of_bad_rows() -> None:
    row = "5001,2026-05-01,GBP,1.00,\n"
    source = ImportFile(
        BytesIO(f"problem,{','.join(NAMES)}\nit came twice,{row}it came twice,{row},{row}".encode()), "", LAYOUT
    )
    assert [len(group) for group in grouped(source.records(), ("order_id",), ROWS_MAX)] == [1, 2]

"""The table of protections names texts and tests that are there. Taking the protections out is `make protections`."""

import pytest

from tests.protections.__main__ import ROOT
from tests.protections.protection import Protection
from tests.protections.table import PROTECTIONS

each_protection = pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.name)


@each_protection
def test_what_is_taken_out_stands_where_the_table_says_exactly_once(protection: Protection) -> None:
    for edit in protection.edits:
        text = (ROOT / edit.file).read_text()
        assert text.count(edit.text) == 1
        compile(text.replace(edit.text, edit.replacement), edit.file, "exec")


@each_protection
def test_what_shall_notice_it_is_there(protection: Protection) -> None:
    for test in protection.tests:
        path, *names = test.split("::")
        text = (ROOT / path).read_text()
        assert [name for name in names if name.partition("[")[0] not in text] == []


def test_each_protection_has_a_name_of_its_own() -> None:
    assert len({protection.name for protection in PROTECTIONS}) == len(PROTECTIONS)

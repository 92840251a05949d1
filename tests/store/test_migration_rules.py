"""Migrations only add, and what takes away says from which release on: docs/upgrading.md, "Expand, then contract"."""

import re
from pathlib import Path

import pytest

from tests.pages import ROOT
from tests.store.made_up_release import MIGRATION, TAKING_AWAY

FOLDER = ROOT / "core/store/migrations/versions"
#: What a release that runs meanwhile may not live through, in SQL and in alembic's words.
TAKES_AWAY = {
    "a table or view is dropped": r"DROP (?:TABLE|VIEW)|drop_table\(",
    "a column is dropped": r"DROP COLUMN|drop_column\(",
    "something is renamed": r"\bRENAME\b|new_column_name|rename_table\(",
    "a column gets another type": r"ALTER COLUMN \w+ (?:SET DATA )?TYPE\b|\btype_=",
    "a column must be filled": r"SET NOT NULL|ADD COLUMN (?:(?!DEFAULT)[^,;\"'])*NOT NULL(?![^,;\"']*DEFAULT)",
    "a check is made at once": r"ADD (?:CONSTRAINT \w+ )?(?:CHECK|FOREIGN KEY)(?!.*NOT VALID)",
}
#: What stops those who work, whatever release they are of.
BLOCKS = {"an index is made while writers wait": r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)"}
RAISES = re.compile(r"UPDATE schema_support SET oldest_revision")


def broken_rules(source: str) -> list[str]:
    """What a migration does that it may not do."""
    taken = [what for what, pattern in TAKES_AWAY.items() if re.search(pattern, source, re.MULTILINE)]
    blocking = [what for what, pattern in BLOCKS.items() if re.search(pattern, source)]
    return blocking if RAISES.search(source) else taken + blocking


def later_migrations() -> list[Path]:
    """All but the first, before which there was nothing."""
    return sorted(FOLDER.glob("[0-9]*_*.py"))[1:]


def test_every_migration_keeps_the_rules() -> None:
    assert {path.name: broken for path in later_migrations() if (broken := broken_rules(path.read_text()))} == {}


def test_a_migration_that_adds_and_one_that_takes_away_and_says_so_keep_them() -> None:
    assert broken_rules(MIGRATION) == []
    assert broken_rules(TAKING_AWAY) == []
    assert broken_rules(TAKING_AWAY.replace("UPDATE schema_support", "")) == ["a column is dropped"]


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("ALTER TABLE lots ADD COLUMN note varchar", []),
        ("ALTER TABLE lots ADD COLUMN is_kept boolean DEFAULT false NOT NULL", []),
        ("ALTER TABLE lots ADD COLUMN is_kept boolean NOT NULL DEFAULT false", []),
        ("ALTER TABLE lots ADD COLUMN note varchar NOT NULL", ["a column must be filled"]),
        ("ALTER TABLE lots ALTER COLUMN note SET NOT NULL", ["a column must be filled"]),
        ("ALTER TABLE lots RENAME COLUMN note TO remark", ["something is renamed"]),
        ("ALTER TABLE lots ALTER COLUMN points TYPE integer", ["a column gets another type"]),
        ("DROP TABLE lots", ["a table or view is dropped"]),
        ("ALTER TABLE lots ADD CONSTRAINT ck_x CHECK (points > 0)", ["a check is made at once"]),
        ("ALTER TABLE lots ADD CONSTRAINT ck_x CHECK (points > 0) NOT VALID", []),
        ("CREATE INDEX ix_lots_note ON lots (note)", ["an index is made while writers wait"]),
        ("CREATE INDEX CONCURRENTLY ix_lots_note ON lots (note)", []),
    ],
)
def test_a_statement_is_judged(statement: str, broken: list[str]) -> None:
    assert broken_rules(f'op.execute("{statement}")') == broken

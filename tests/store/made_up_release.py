"""Two releases after this one, made up: the next adds to the tables, the one after takes away what this one still has.

What is promised to them can so be tried today.
"""

from pathlib import Path
from shutil import copytree

REVISION = "0002"
#: One table of the hot path after the other; each statement can be run twice.
MIGRATION = '''"""What a later release adds."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for table in ("inbox", "entries", "accounts", "orders"):
            op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS note VARCHAR")
        op.execute("ALTER TABLE accounts DROP CONSTRAINT IF EXISTS ck_accounts_note")
        op.execute("ALTER TABLE accounts ADD CONSTRAINT ck_accounts_note CHECK (note <> '') NOT VALID")
        op.execute("ALTER TABLE accounts VALIDATE CONSTRAINT ck_accounts_note")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_orders_note")
        op.execute("CREATE INDEX CONCURRENTLY ix_orders_note ON orders (note) WHERE note IS NOT NULL")
    op.create_table("notes", sa.Column("note", sa.String(), nullable=False))
'''

LAST_REVISION = "0003"
#: No release since the next one looks at that index; with it goes the promise to this release.
TAKING_AWAY = '''"""What the release after that takes away."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("UPDATE schema_support SET oldest_revision = '0002'")
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_orders_note")
        op.execute("ALTER TABLE orders DROP COLUMN IF EXISTS note")
'''


def add_migration(migrations: Path) -> None:
    """Make a copy of this release's migrations those of the later one."""
    (migrations / "versions" / f"{REVISION}_made_up.py").write_text(MIGRATION)


def copy_migrations(to: Path) -> Path:
    """The later release's migrations."""
    copied = copytree(Path(__file__).parents[2] / "core/store/migrations", to / "migrations")
    add_migration(copied)
    return copied


def copy_last_migrations(to: Path) -> Path:
    """Those of the release after it."""
    copied = copy_migrations(to)
    (copied / "versions" / f"{LAST_REVISION}_made_up.py").write_text(TAKING_AWAY)
    return copied


def copy_release(to: Path) -> Path:
    """The later release's sources."""
    tree = to / "later"
    for package in ("core", "config", "tasks", "workers"):
        copytree(Path(__file__).parents[2] / package, tree / package)
    add_migration(tree / "core/store/migrations")
    return tree

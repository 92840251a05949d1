"""Alembic's entry: runs on the connection that `core.store.migrate` hands over.

For authors of migrations. Roles of this release and of the one before work while a migration runs, and go on after it:

- Only add: nullable columns, tables, indexes; a default only where it is constant. What the release before writes must
  still be taken, and what it reads must still be there. What breaks it raises `schema_support.oldest_revision` to the
  revision that it needs, in a migration of the release after, when nobody runs the older one any more.
- Every statement is tried with a short lock_timeout, since everybody queues behind an ALTER TABLE that waits. When it
  gives way, the whole migration is run again.
- So touch one table of the hot path per transaction: two in one can meet posting in a deadlock. A migration that needs
  more wraps them in `with op.get_context().autocommit_block():`, and writes each so that it can be run twice (IF NOT
  EXISTS, DROP IF EXISTS before ADD).
- One subcommand for each ALTER TABLE, and no triggers: Citus, with a schema for each bucket, refuses the rest.
- A CHECK or foreign key on a table with rows: NOT VALID first, then VALIDATE CONSTRAINT, which blocks nobody.
- An index on inbox, outbox, entries, lots, allocations, orders or refunds: CREATE INDEX CONCURRENTLY in an
  autocommit_block, after DROP INDEX IF EXISTS, for what a broken run leaves invalid.
- A new table needs its line in core/store/grants.py.
"""

from alembic import context

from core.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, compare_server_default=True, transaction_per_migration=True
)
with context.begin_transaction():
    context.run_migrations()

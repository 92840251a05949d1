"""What is kept of customers who were erased: nothing that names them, and what recognises what comes late."""

import sqlalchemy as sa

from core.store.tables.base import INSTANT, column, metadata

#: One customer. What stands in the place of their id is drawn at random.
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("token", sa.String(), primary_key=True),
    column("name_key", sa.LargeBinary()),  #: a hash of their id, under LOYALTY_REFERENCE_SALT
    column("salt_check", sa.LargeBinary()),  #: shows whether that is still the secret that it was
    column("erased_at", INSTANT, default="now()"),
    sa.UniqueConstraint("name_key"),
)

#: Accounts that were theirs.
erased_accounts = sa.Table(
    "erased_accounts",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    column("token", sa.String()),
    column("is_closed", sa.Boolean()),  #: it was open until then
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    sa.ForeignKeyConstraint(["token"], ["erasures.token"]),
)

#: Messages of theirs, so that the same again is known and changes nothing.
erased_contents = sa.Table(
    "erased_contents",
    metadata,
    sa.Column("content_key", sa.LargeBinary(), primary_key=True),  #: a hash of what it said, under the same secret
    column("content_hash", sa.LargeBinary(), null=True),  #: that its row has now, where that is not the key itself
)

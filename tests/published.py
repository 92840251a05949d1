"""Events that are published, as a test wants them without a relay."""

from core.store.outbox import UNPUBLISHED

#: As if the relay had published all that is there.
PUBLISH_ALL = """
INSERT INTO relay_positions SELECT account_shard, max(outbox_id) FROM outbox GROUP BY account_shard
ON CONFLICT (account_shard) DO UPDATE SET published_through = excluded.published_through
"""
COUNT_UNPUBLISHED = f"SELECT count(*) FROM {UNPUBLISHED} AS u"

"""Two ways to spread work: messages by customer, ledger rows by account."""

from uuid import UUID
from zlib import crc32

#: Expiry, review, audit and relay run per account shard. Fixed for the life of a database: two relays that disagreed
#: on an account's shard could publish its events out of order.
ACCOUNT_SHARDS = 8


def message_shard(key: str, shards: int) -> int:
    """The shard that posts messages of this customer (of this order, for a guest).

    `shards` may differ between runs: account locks, not shards, keep balances right.
    """
    return crc32(key.encode()) % shards


def account_shard(account_id: UUID) -> int:
    """The shard of the account's lots and events."""
    return account_id.int % ACCOUNT_SHARDS

"""A client of a Redis or Valkey server: its options, its timeouts, its errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from core.errors import BrokerModeError, BrokerUnavailableError
from workers.brokers.contracts import url_without_password, wrong_option_text

_CONNECT_SECONDS: Final = 3.0
_READ_SECONDS: Final = 6.0


#: What HELLO calls the modes that do not suit us, in the words of `BrokerModeError`.
_MODES_REFUSED: Final = {
    "cluster": {
        "what": "a node of a Redis Cluster",
        "why": "one step of ours reaches several streams and lists, which a cluster keeps on different nodes",
        "mend": "a server with `cluster-enabled no`",
    },
    "sentinel": {
        "what": "a Sentinel",
        "why": "it holds no messages, and only knows which server is the primary",
        "mend": "the primary itself, by an address that follows a failover (a proxy, a virtual address)",
    },
}


def open_client(broker_url: str, *, blocks_seconds_max: float = 0, **more: Any) -> redis.Redis:
    """Make a client, which connects at its first command. `blocks_seconds_max`: how long a command may wait."""
    where = url_without_password(broker_url)
    try:
        options: dict[str, Any] = parse_url(broker_url)  # type: ignore[no-untyped-call]
    except ValueError:
        # Not the error's own text: it may quote a piece of the password.
        reason = "its URL cannot be read (special characters in the password must be percent-encoded)"
        raise BrokerUnavailableError(where=where, reason=reason) from None
    options |= {
        "protocol": 2,  # RESP 3 answers XREADGROUP in another shape
        "decode_responses": False,
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _READ_SECONDS + blocks_seconds_max,
        "socket_keepalive": True,
        "health_check_interval": 10,
        # Repeated unasked, XREADGROUP misses what the lost answer delivered, and XADD adds twice.
        "retry": Retry(NoBackoff(), 0),
        **more,
    }
    pool = redis.ConnectionPool(**options)
    try:
        pool.connection_class(**pool.connection_kwargs)  # connects nothing; refuses options that it does not know
    except (TypeError, redis.RedisError) as error:
        raise BrokerUnavailableError(where=where, reason=wrong_option_text(broker_url, error)) from error
    return redis.Redis.from_pool(pool)


def reach_server(broker_url: str) -> None:
    """Connect and ask for a sign of life; `BrokerUnavailableError` when none comes."""
    where = url_without_password(broker_url)
    with broker_errors(where), open_client(broker_url) as client:
        greet(client, where)


def greet(client: redis.Redis, where: str) -> None:
    """Connect, and see what kind of server answers: BrokerModeError for one that cannot hold our streams, and close.

    HELLO says so to everybody who may log in; INFO and CLUSTER take rights that our roles have no other use for.
    """
    answer: Any = client.execute_command("HELLO", "2")  # type: ignore[no-untyped-call]
    told = dict(zip(answer[::2], answer[1::2], strict=False))
    mode = told.get(b"mode", b"").decode()
    if mode in _MODES_REFUSED:
        client.close()
        raise BrokerModeError(where=where, **_MODES_REFUSED[mode])


def check_server_url(broker_url: str) -> None:
    """Raise BrokerUnavailableError for a URL or option that the client would not take. Connects to nothing."""
    open_client(broker_url).close()


@contextmanager
def broker_errors(where: str) -> Iterator[None]:
    """Raise `BrokerUnavailableError` for what the client raises."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise BrokerUnavailableError(where=where, reason=str(error).rstrip(".") or type(error).__name__) from error

"""Reading and writing one value in each embedded server, and seeing what runs."""

import socket
from contextlib import closing
from pathlib import Path

import psycopg
import redis

from workers.child_processes import find_processes
from workers.servers.folder import ServerAddresses


def connect(addresses: ServerAddresses) -> psycopg.Connection[tuple[object, ...]]:
    assert addresses.database_url is not None
    return psycopg.connect(addresses.database_url.replace("+psycopg", ""), autocommit=True)


def broker(addresses: ServerAddresses) -> "redis.Redis":
    assert addresses.broker_url is not None
    return redis.Redis.from_url(addresses.broker_url, decode_responses=True, retry=None)


def write_one_of_each(addresses: ServerAddresses) -> None:
    with connect(addresses) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('postgres')")
    with closing(broker(addresses)) as client:
        client.set("kept", "valkey")


def read_one_of_each(addresses: ServerAddresses) -> tuple[object, object]:
    with connect(addresses) as connection, closing(broker(addresses)) as client:
        row = connection.execute("SELECT word FROM kept").fetchone()
        return (row[0] if row else None), client.get("kept")


BOTH_KEPT = ("postgres", "valkey")


def is_free(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def server_processes(folder: Path) -> set[int]:
    cluster, valkey = (folder / "postgres").resolve() / "cluster", (folder / "valkey").resolve()
    return find_processes("postgres", cluster, cluster / "postmaster.pid") | find_processes(
        "valkey-server", valkey, valkey / "valkey.pid"
    )

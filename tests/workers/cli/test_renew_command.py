"""`loyalty renew-stream`, and how `loyalty status` tells that it is needed."""

import pytest
import redis

from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine
from workers.brokers.stream_scripts import GREATEST_ID
from workers.brokers.topology import SHOP_STREAM


@pytest.fixture
def stream(stream_broker_url: str, monkeypatch: pytest.MonkeyPatch) -> "redis.Redis[bytes]":
    monkeypatch.setenv("LOYALTY_BROKER_URL", stream_broker_url)
    client: redis.Redis[bytes] = redis.Redis.from_url(stream_broker_url, protocol=2)
    client.xgroup_create(SHOP_STREAM, "loyalty", id="0", mkstream=True)
    return client


def test_a_closed_stream_is_named_by_status_and_opened_by_the_command_that_it_names(
    loyalty: CommandLine, shell: Shell, stream: "redis.Redis[bytes]"
) -> None:
    stream.xadd(SHOP_STREAM, {"event": "x"}, id=GREATEST_ID.decode())
    told = loyalty("status", "--json")
    [problem] = [problem for problem in told.json["problems"] if problem["name"] == "stream_closed"]
    assert (told.code, "shop.events takes no more messages" in problem["text"]) == (1, True)
    assert "`loyalty renew-stream`" in problem["mend"]
    printed = loyalty("renew-stream")
    assert printed.code == 0
    assert printed.out.startswith("shop.events takes messages again; 1 message that waits is in it.")
    stream.xadd(SHOP_STREAM, {"event": "y"})
    assert "stream_closed" not in str(loyalty("status", "--json").json["problems"])


def test_a_stream_that_takes_messages_is_left_alone(
    loyalty: CommandLine, shell: Shell, stream: "redis.Redis[bytes]"
) -> None:
    stream.xadd(SHOP_STREAM, {"event": "x"})
    before = stream.xinfo_stream(SHOP_STREAM)["last-generated-id"]
    assert loyalty("renew-stream").out == "Nothing to do: shops can send.\n"
    assert loyalty("renew-stream", "--json").json == {"is_renewed": False, "moved": None}
    assert stream.xinfo_stream(SHOP_STREAM)["last-generated-id"] == before

"""Explanations of random histories agree with the ledger, now and at every instant of the past."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.factories import cancellation, fulfilment, line, order, refund
from tests.pages import ROOT
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine

SEEDS = (1, 2)
MESSAGES = 30
SOURCES = {"grocer": "/tills/north", "fashion": "/shops/maison"}
SKUS = ("WATER-12", "JUICE-06", "BAG-PAPER", "COAT")
CATEGORIES = ("fruit", "bakery", "organic", "tobacco", "final-sale")


def random_messages(rng: Random, source: str) -> Iterator[dict[str, Any]]:
    """Orders of one customer, and refunds, fulfilments and cancellations of them."""
    orders: list[tuple[str, list[dict[str, Any]]]] = []
    instant = datetime(2026, 3, 1, 7, 30, tzinfo=UTC)
    for n in range(MESSAGES):
        instant += timedelta(hours=rng.choice((1, 5, 30, 100)))
        of: dict[str, Any] = {"source": source, "time": instant.isoformat()}
        if not orders or rng.random() < 0.5:
            orders.append((f"o{n}", random_lines(rng)))
            attributes = {"channel": rng.choice(("app", "till")), "gift": rng.random() < 0.5}
            tags = rng.sample(("birthday", "vip"), rng.randint(0, 2))
            yield order(f"o{n}", lines=orders[-1][1], attributes=attributes, customer_tags=tags, **of)
            continue
        order_id, lines = rng.choice(orders)
        part = {"lines": [{"line_id": rng.choice(lines)["line_id"], "quantity": 1}]}
        yield rng.choice(
            (
                refund(f"r{n}", order_id, **part, **of),
                refund(f"r{n}", order_id, net=f"{rng.randint(1, 500) / 100:.2f}", **of),
                refund(f"r{n}", order_id, **of),
                fulfilment(order_id, **of),
                fulfilment(order_id, **of),
                cancellation(order_id, **of),
            )
        )


def random_lines(rng: Random) -> list[dict[str, Any]]:
    return [
        line(
            str(n),
            f"{rng.randint(1, 9000) / 100:.2f}",
            quantity=rng.randint(1, 4),
            sku=rng.choice(SKUS),
            categories=rng.sample(CATEGORIES, rng.randint(0, 2)),
            kind=rng.choice(("product", "product", "product", "shipping")),
        )
        for n in range(rng.randint(1, 5))
    ]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("program_id", SOURCES)
def test_explanations_agree_with_the_ledger(loyalty: CommandLine, engine: Engine, program_id: str, seed: int) -> None:
    text = (ROOT / "config" / "programs" / f"{program_id}.yaml").read_text()
    text = text.replace("2027-11-", "2026-03-").replace(
        "{policy: inactivity, months: 18}", "{policy: inactivity, months: 600}"
    )
    shell = Shell(engine, shards=16, program_text=text)  # whose points end long ago or in a far future: no day matters
    pasts = []
    for message in random_messages(Random(seed), SOURCES[program_id]):
        shell.take(message)
        pasts += shell.rows("SELECT *, clock_timestamp() AS then FROM entries ORDER BY sequence DESC LIMIT 1")
    shell.expire(datetime.now(UTC).isoformat())
    assert shell.differences() == []
    for command in ("show", "history", "explain"):
        assert loyalty("account", command, "c1").code == 0
    for row in shell.rows("SELECT order_id FROM orders"):
        assert_order_agrees(loyalty, row.order_id)
    for past in pasts[::4]:
        assert_past_agrees(loyalty, past)


def assert_order_agrees(loyalty: CommandLine, order_id: str) -> None:
    """Rules and promotions sum to what it earned, and what it earns now is in the ledger."""
    [told] = loyalty("account", "explain", "c1", "--order", order_id, "--json").json["orders"]
    assert told["points_now"] == told["points_in_ledger"]
    assert sum(each["points"] for each in (*told["rules"], *told["promotions"])) == told["points_at_first"]


def assert_past_agrees(loyalty: CommandLine, entry: Any) -> None:
    """Balance and pending are those of the last entry of then, and of the lots of then."""
    as_of = entry.then.isoformat()
    [account] = loyalty("account", "show", "c1", "--as-of", as_of, "--json").json["accounts"]
    then = (entry.sequence, entry.balance_after, entry.pending_after)
    assert (account["sequence"], account["balance"], account["pending"]) == then
    left = {False: 0, True: 0}
    for lot in account["lots"]:
        left[lot["is_pending"]] += lot["points_remaining"]
    assert (left[False] - account["deficit"], left[True]) == (account["balance"], account["pending"])

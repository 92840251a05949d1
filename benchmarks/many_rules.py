"""Posting under a program of 50 rules and 20 promotions against posting under one rule: the same orders, in turn.

As one worker posts, with two processes that share the budget of a promotion; with `--processes 1` by one alone, which
waits for PostgreSQL for a part of its time.

python -m benchmarks.many_rules --messages 12000 --rounds 5
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from statistics import median
from typing import Any
from zlib import crc32

from benchmarks.load import Message, sample_messages
from benchmarks.posting import fill_inbox, measure_posting
from benchmarks.servers import PROGRAM_FILE, database_server, fresh_database
from core.domain.program import Program
from core.messages.program_files.program_file import load_program

_BATCH_MESSAGES, _SHARDS = 500, 16
_CATEGORIES = 60
_RULES_OF_ARTICLES, _ARTICLES_EACH = 15, 10


def main() -> None:
    """Measure in turn, print every ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=12_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--database-url", help="another server than the embedded one; it gets a database of its own")
    arguments = parser.parse_args()
    messages = [described(message) for message in sample_messages(arguments.messages)]
    simple, large = load_program(PROGRAM_FILE), many_rules(messages)
    with database_server(arguments.database_url) as url:
        _measure(url, messages, simple, large, arguments)


def _measure(
    server_url: str, messages: list[Message], simple: Program, large: Program, arguments: argparse.Namespace
) -> None:
    ratios: list[float] = []
    processes = arguments.processes
    for number in range(arguments.rounds):
        pair = [simple, large] if number % 2 else [large, simple]  # what goes first finds colder caches
        rates = {
            len(program.earning_rules): _posted_per_s(server_url, messages, program, processes) for program in pair
        }
        fast, slow = rates[1], rates[len(large.earning_rules)]
        ratios.append(fast / slow)
        print(f"one rule {fast:,.0f} messages a second, {len(large.earning_rules)} rules {slow:,.0f}", flush=True)
    print(f"the time of posting, times that under one rule: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    print(f"median {median(ratios):.2f}")


def _posted_per_s(server_url: str, messages: list[Message], program: Program, processes: int) -> float:
    with fresh_database(server_url, "loyalty_bench_many_rules", program) as engine:
        fill_inbox(engine, messages, _SHARDS)
        return measure_posting(engine, _BATCH_MESSAGES, processes)


def described(message: Message) -> Message:
    """The message with what the data set lacks: categories of articles, the channel, tags of customers."""
    kind, body = message
    event = json.loads(body)
    data = event["data"]
    if kind == "order.completed":
        for line in data["lines"]:
            line["categories"] = [_category(line["sku"])]
        number = sum(data["order_id"].encode())
        data["attributes"] = {"channel": ("web", "app", "store")[number % 3]}
        if number % 10 == 0:
            data["customer_tags"] = ["club"]
    return kind, json.dumps(event, separators=(",", ":")).encode()


def _category(sku: str) -> str:
    return f"cat-{crc32(sku.encode()) % _CATEGORIES}"


def many_rules(messages: list[Message]) -> Program:
    """A program as a large shop may have it after some years: 50 rules, 20 promotions, of which some are over."""
    skus: Counter[str] = Counter(
        line["sku"]
        for kind, body in messages
        if kind == "order.completed"
        for line in json.loads(body)["data"]["lines"]
    )
    best_sellers = [sku for sku, _ in skus.most_common(4 * _RULES_OF_ARTICLES * _ARTICLES_EACH)]
    wanted = best_sellers[::4]
    simple = json.loads(load_program(PROGRAM_FILE).model_dump_json(exclude_none=True))
    document = {
        **simple,
        "combine": "stack",
        "earning_rules": list(_rules(wanted)),
        "promotions": list(_promotions(wanted)),
    }
    return Program.model_validate(document)


def _rules(skus: list[str]) -> Iterator[dict[str, Any]]:
    yield {"rule_id": "base", "kind": "spend", "per_amount": "1.00", "points": "1"}
    for n in range(_RULES_OF_ARTICLES):
        caps = {"per_order": 200} if n % 3 == 0 else {}
        yield {"rule_id": f"item-{n}", "kind": "item", "skus": skus[n::_RULES_OF_ARTICLES], "points": "2", "caps": caps}
    for n in range(14):
        yield {"rule_id": f"category-{n}", "kind": "category", "categories": [f"cat-{n}"], "points": 1}
    for n in range(12):
        lines = {"categories": [f"cat-{n + 14}"], "exclude_skus": skus[n : n + 3]}
        when: dict[str, Any] = {"channels": [("web", "app", "store")[n % 3]]} if n % 2 else {"minimum_amount": "25.00"}
        yield {
            "rule_id": f"spend-{n}", "kind": "spend", "per_amount": "2.00", "lines": lines,
            "points": {"bronze": 1, "silver": 1, "gold": 2}, "when": when,
        }  # fmt: skip
    for n in range(8):
        when = {
            "starts_on": f"20{10 + n % 3}-0{n + 1}-01",
            "ends_on": f"20{10 + n % 3}-1{n % 3}-28",
            "minimum_amount": 50,
        }
        caps = {"per_month": 500} if n % 4 == 0 else {"per_day": 100} if n % 4 == 2 else {}
        yield {"rule_id": f"visit-{n}", "kind": "visit", "points": 10 + n, "when": when, "caps": caps}


def _promotions(skus: list[str]) -> Iterator[dict[str, Any]]:
    weekend = [{"days": ["sat", "sun"], "start": "10:00", "end": "18:00"}]
    return chain(
        (
            {
                "promotion_id": f"campaign-{n}", "kind": "multiplier", "multiplier": 2,
                "when": {"starts_on": f"201{n % 3}-{n + 1:02}-01", "ends_on": f"201{n % 3}-{n + 1:02}-28"},
                "lines": {"categories": [f"cat-{n + 20}", f"cat-{n + 40}"]},
            }
            for n in range(9)
        ),
        (
            {"promotion_id": f"article-{n}", "kind": "addition", "points": 25, "lines": {"skus": skus[n::20]}}
            for n in range(5)
        ),
        (
            {
                "promotion_id": "welcome", "kind": "addition", "points": 100,
                "when": {"first_order": True, "minimum_amount": "40.00"}, "limits": {"budget_points": 1_000_000},
            },
            {"promotion_id": "club", "kind": "multiplier", "multiplier": "1.5", "when": {"customer_tags": ["club"]}},
            {"promotion_id": "weekends", "kind": "addition", "points": 20, "when": {"hours": weekend}},
            {
                "promotion_id": "app", "kind": "multiplier", "multiplier": "1.25", "when": {"channels": ["app"]},
                "limits": {"orders_per_customer_and_day": 1},
            },
            {"promotion_id": "gold", "kind": "addition", "points": 30, "when": {"tiers": ["gold"]}},
            {
                "promotion_id": "thrice", "kind": "addition", "points": 15, "limits": {"orders_per_customer": 3},
                "clawback": "full_refund",
            },
        ),
    )  # fmt: skip


if __name__ == "__main__":
    main()

"""What shops send in one simulation: a dozen messages that collide as often as can be."""

import json
import random
from collections import Counter
from typing import Any, NamedTuple

from core.domain.program import Program
from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.messages.program_files.program_file import parse_program
from tests.factories import as_bytes, cancellation, command, fulfilment, order, refund

LASTING, BRIEF, HELD, SCARCE = "/shops/lasting", "/shops/brief", "/shops/held", "/shops/scarce"
SPENT = "/shops/spent"

# Points of one program never expire, and its tiers earn at different rates, so that whatever is lost or done twice
# shows in every later order. In the next lots are due and tiers are to be reviewed, whenever posting comes. In the
# third points wait for their order's fulfilment. In the fourth an order earns what earlier ones have left it. In the
# last commands give, reserve, spend and move points.
BUDGET_POINTS, CAP_PER_DAY, STEP = 50, 90, 70
PROGRAMS = (
    """
program_id: lasting
name: Lasting
currency: EUR
time_zone: Europe/Berlin
sources: ["/shops/lasting"]
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {bronze: "1", silver: "1.5", gold: "2"}}
tiers:
  - {tier_id: bronze, threshold_points: 0}
  - {tier_id: silver, threshold_points: 150}
  - {tier_id: gold, threshold_points: 400}
""",
    """
program_id: brief
name: Brief
currency: EUR
time_zone: Europe/Berlin
sources: ["/shops/brief"]
qualification: {window: calendar_year}
expiry: {policy: after_months, months: 1}
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {bronze: "1", silver: "1", gold: "1"}}
tiers:
  - {tier_id: bronze, threshold_points: 0}
  - {tier_id: silver, threshold_points: 60}
  - {tier_id: gold, threshold_points: 160}
""",
    """
program_id: held
name: Held
currency: EUR
time_zone: Europe/Berlin
sources: ["/shops/held"]
availability: {policy: on_fulfilled}
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {all: "1"}}
tiers:
  - {tier_id: all, threshold_points: 0}
""",
    f"""
program_id: scarce
name: Scarce
currency: EUR
time_zone: Europe/Berlin
sources: ["/shops/scarce"]
combine: stack
earning_rules:
  - {{rule_id: steps, kind: spend, per_amount: "{STEP}.00", points: {{all: "1"}}, carry: true}}
  - {{rule_id: capped, kind: spend, per_amount: "1.00", points: {{all: "1"}}, caps: {{per_day: {CAP_PER_DAY}}}}}
promotions:
  - {{promotion_id: launch, kind: addition, points: 20, limits: {{budget_points: {BUDGET_POINTS}}}}}
tiers:
  - {{tier_id: all, threshold_points: 0}}
""",
    """
program_id: spent
name: Spent
currency: EUR
time_zone: Europe/Berlin
sources: ["/shops/spent"]
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {all: "1"}}
tiers:
  - {tier_id: all, threshold_points: 0}
""",
)
PROGRAM_OF: dict[str, Program] = {
    source: parse_program(text, path="simulation.yaml")
    for source, text in zip((LASTING, BRIEF, HELD, SCARCE, SPENT), PROGRAMS, strict=True)
}
#: The periodic tasks run for these instants, in any order; the last one is after everything.
INSTANTS = tuple(f"{year}-{day}T00:00:00+00:00" for year in range(2019, 2025) for day in ("01-01", "06-15"))
#: Behind the deadlines of all authorizations, which last so long after the real time.
BEHIND_DEADLINES = "2099-01-01T00:00:00+00:00"
_YEARS = (2019, 2020, 2021)


class History(NamedTuple):
    """The queue's messages, and the events in them."""

    earlier: list[bytes]  #: orders that are posted before anything happens, so that their customers are known
    deliveries: list[bytes]
    events: list[dict[str, Any]]  #: each distinct content once
    unreadable: list[bytes]
    copies: Counter[str]  #: how often each content is delivered at least, by `content_key`

    @property
    def commands(self) -> list[dict[str, Any]]:
        """The events that ask for something."""
        return [event for event in self.events if event["type"].startswith(COMMAND_PREFIX)]


def content_key(event: Any) -> str:
    """A name for what a message says, however it is written."""
    return event.hex() if isinstance(event, bytes) else json.dumps(event, sort_keys=True)


class Shop(NamedTuple):
    """What a seed decides about the shops: the fewer customers and the more repeats, the more collides."""

    sources: tuple[str, ...]
    customers: tuple[str, ...]
    repeat_rate: float


def draw_history(rng: random.Random, commands: random.Random) -> History:
    """Draw orders, refunds, fulfilments, cancellations, every kind of repeat, and now and then commands beside them."""
    shop = Shop(
        sources=rng.choice(((LASTING,), (BRIEF,), (LASTING, BRIEF), (HELD,), (SCARCE,), (HELD, SCARCE))),
        customers=("ann", "bob", "cyd")[: rng.randint(1, 3)],
        repeat_rate=rng.choice((0.1, 0.3, 0.6)),
    )
    orders = [_draw_order(rng, f"o{n}", shop) for n in range(rng.randint(1, 4))]
    events = [variant for each in orders for variant in _with_repeats(rng, each, "order_id", shop)]
    for n in range(rng.randint(2, 5)):
        events += _with_repeats(rng, _draw_refund(rng, f"r{n}", rng.choice(orders)), "refund_id", shop)
    for sold in orders:
        for what, rate in ((fulfilment, 0.5), (cancellation, 0.25)):
            if rng.random() < rate:
                told = what(sold["data"]["order_id"], source=sold["source"], time="2022-01-02T12:00:00Z")
                events += _with_repeats(rng, told, "", shop)
    if commands.random() < 0.4:
        events += draw_commands(commands, shop)
    if rng.random() < 0.7:
        rng.shuffle(events)
    unreadable = [b"no json %d" % n for n in range(rng.random() < 0.2)]
    earlier = [_draw_order(rng, f"e{n}", shop) for n in range(rng.choice((0, len(shop.customers))))]
    copies = Counter(map(content_key, [*earlier, *events, *unreadable]))
    deliveries: list[bytes] = list(unreadable)
    left = list(events)
    while left:
        group = [left.pop(0) for _ in range(min(len(left), rng.choice((1, 1, 1, 2, 3))))]
        deliveries.append(as_bytes(group if len(group) > 1 else group[0]))
        if rng.random() < shop.repeat_rate:
            deliveries.insert(rng.randrange(len(deliveries)), deliveries[-1])
            copies.update(map(content_key, group))
    return History(list(map(as_bytes, earlier)), deliveries, [*earlier, *events], unreadable, copies)


def draw_commands(rng: random.Random, shop: Shop) -> list[dict[str, Any]]:
    """Draw commands that race for the same points, and some of them again, or with other content under their ids."""
    asked = [("credit", {"points": rng.randint(30, 80)}) for _ in range(rng.randint(1, 3))]
    for number in range(rng.randint(1, 3)):
        name = {"authorization_id": f"hold-{number}"}
        asked.append(("authorize", {**name, "points": rng.randint(10, 50)}))
        for _ in range(rng.randint(0, 2)):
            part = rng.choice(({}, {"points": rng.randint(1, 30)}, {"points": rng.randint(1, 30), "is_final": False}))
            asked.append(("capture", {**name, **part}))
        asked += [("void", name)] * (rng.random() < 0.5)
    asked += [("redeem", {"points": rng.randint(5, 40)})] * rng.randint(0, 2)
    for _ in range(rng.randint(0, 2) if len(shop.customers) > 1 else 0):
        giver, getter = rng.sample(shop.customers, 2)
        asked.append(("transfer", {"customer_id": giver, "to_customer_id": getter, "points": rng.randint(5, 40)}))
    if rng.random() < 0.6:
        asked.append(("reverse", {"command_id": f"k{rng.randrange(len(asked))}"}))
    found = []
    for number, (verb, data) in enumerate(asked):
        if verb in {"credit", "authorize", "redeem"}:
            data = {"customer_id": rng.choice(shop.customers), **data}  # noqa: PLW2901  # it says whose from now on
        made = {**command(verb, f"k{number}", source=SPENT, time="2022-01-03T12:00:00Z"), "data": data}
        found.append(made)
        found += [made] * (rng.random() < shop.repeat_rate)
        if rng.random() < 0.12:
            found.append({**made, "data": {**made["data"], "reason": "something else"}})
    return found


def _draw_order(rng: random.Random, order_id: str, shop: Shop) -> dict[str, Any]:
    source = rng.choice(shop.sources)
    time = f"{rng.choice(_YEARS)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T12:00:00Z"
    customer_id = None if rng.random() < 0.08 else rng.choice(shop.customers)
    if source == SCARCE:
        time = f"2020-03-0{rng.randint(1, 2)}T12:00:00Z"  # days that orders share
    currency = "USD" if rng.random() < 0.05 else "EUR"
    amount = f"{rng.randint(20, 200)}.00"
    return order(order_id, amount, source=source, customer_id=customer_id, time=time, currency=currency)


def _draw_refund(rng: random.Random, refund_id: str, sold: dict[str, Any]) -> dict[str, Any]:
    if rng.random() < 0.08:
        return refund(refund_id, "missing", source=sold["source"], time="2022-01-01T12:00:00Z")
    amount = int(sold["data"]["lines"][0]["amount"].removesuffix(".00"))
    part = {"full": True} if rng.random() < 0.25 else {"net": f"{rng.randint(1, amount // 2)}.00"}
    return refund(refund_id, sold["data"]["order_id"], source=sold["source"], time="2022-01-01T12:00:00Z", **part)


def _with_repeats(rng: random.Random, event: dict[str, Any], key: str, shop: Shop) -> list[dict[str, Any]]:
    """The event; with the same content under another id; with other content under the same id, and under another."""
    found = [event]
    if rng.random() < shop.repeat_rate:
        found.append({**event, "id": event["id"] + "-again"})
    if rng.random() < 0.12:
        found.append(_changed(event, key))
    if rng.random() < 0.12:
        found.append({**_changed(event, key), "id": event["id"] + "-changed"})
    return found


def _changed(event: dict[str, Any], key: str) -> dict[str, Any]:
    data = event["data"]
    if not key:
        return {**event, "data": {**data, "program_id": event["source"].removeprefix("/shops/")}}
    if key == "order_id":
        (line,) = data["lines"]
        return {**event, "data": {**data, "lines": [{**line, "amount": f"{float(line['amount']) + 7:.2f}"}]}}
    net = f"{float(data.get('net', '0')) + 1:.2f}"
    return {**event, "data": {**{k: v for k, v in data.items() if k != "full"}, "net": net}}

"""What must hold after a simulation, whatever happened in it. Each check returns its problems, as sentences."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from typing import Any

from core.domain.expiry.dates import expires_at
from core.domain.orders.facts import Order, Refund
from core.store.outbox import UNPUBLISHED
from core.store.proof.chain import walk_chains
from core.store.proof.verify import verify_ledger
from tests.facts import AS_OF, instant
from tests.facts import order as order_fact
from tests.facts import refund as refund_fact
from tests.interleaving.histories import (
    BUDGET_POINTS,
    CAP_PER_DAY,
    HELD,
    INSTANTS,
    LASTING,
    PROGRAM_OF,
    SCARCE,
    STEP,
    content_key,
)
from tests.interleaving.simulated_world import CHAIN_KEY, World
from tests.limit_checks import kept_amount, limit_problems, load_limits
from tests.plain_model import NaiveAccount

#: Why a message may be dead in the end; all other reasons would be a fault of ours.
_OWN_FAULT = {"event_conflict", "order_conflict", "refund_conflict", "wrong_currency", "not_json"}


def problems(world: World) -> list[str]:
    """Everything that is wrong after `run` and `drain`, which went well."""
    checks = (_outcomes, _keys, _ledger, _model, _limits, _commands, _undone, _events, _repeats)
    return [problem for check in checks for problem in check(world)]


def _outcomes(world: World) -> Iterator[str]:
    """Each message that was acknowledged is in the inbox once, counted as often as it came, with one outcome."""
    rows = world.stage.rows("""
        SELECT i.*,
               EXISTS (SELECT 1 FROM orders o
                       WHERE o.source = i.source AND i.subject = 'order ' || o.order_id) AS has_order,
               (SELECT count(*) FROM dead_letter_actions a WHERE a.inbox_id = i.inbox_id) AS retries
        FROM inbox i ORDER BY inbox_id""")
    bodies = world.stage.bodies()
    stored: Counter[str] = Counter()
    for row in rows:
        name = f"message {row['inbox_id']} ({row['event_id'] or 'unreadable'})"
        stored[content_key(bodies[row["inbox_id"]])] += row["deliveries"]
        if row["state"] == "received":
            yield f"{name} was never posted"
        elif row["state"] == "waiting" and (row["has_order"] or row["type"] == "order.completed"):
            yield f"{name} waits for an order that is there"
        elif row["state"] == "dead" and row["reason"] not in _OWN_FAULT | {"order_never_came"}:
            yield f"{name} is parked as {row['reason']}: {row['detail']}"
        elif row["state"] in {"posted", "replayed", "waiting"} and row["times_parked"] > row["retries"]:
            yield f"{name} is {row['state']}, although it was told to be parked and nobody retried it"
    places = Counter(content_key(body) for body in bodies.values())
    for key, count in world.history.copies.items():
        if places[key] != 1:
            yield f"{places[key]} messages instead of one say {key}"
        elif stored[key] < count:
            yield f"delivered {count} times, counted {stored[key]} times: {key}"


def _keys(world: World) -> Iterator[str]:
    """Every order and refund that can be posted is posted once, whatever its messages were called."""
    events = world.history.events
    orders = {_key(e, "order_id") for e in events if e["data"].get("currency") == "EUR"}
    refunds = {_key(e, "refund_id") for e in events if "refund_id" in e["data"] and _key(e, "order_id") in orders}
    told = {
        (*_key(event, "order_id"), event["type"].removeprefix("order."))
        for event in events
        if event["type"] in {"order.fulfilled", "order.cancelled"} and _key(event, "order_id") in orders
    }
    rows = world.stage.rows("SELECT source, order_id, kind FROM order_events")
    if {(row["source"], row["order_id"], row["kind"]) for row in rows} != told:
        yield f"fulfilments and cancellations posted are {rows}, and should be {sorted(told)}"
    for name, expected in (("order", orders), ("refund", refunds)):
        rows = world.stage.rows(f"SELECT source, {name}_id AS id FROM {name}s")
        posted = Counter((row["source"], row["id"]) for row in rows)
        if posted != Counter(dict.fromkeys(expected, 1)):
            yield f"{name}s posted are {sorted(posted.items())}, and should be {sorted(expected)}, once each"


def _ledger(world: World) -> Iterator[str]:
    """The ledger is clean, its chains hold, and nothing is left for the periodic tasks."""
    with world.stage.engine.begin() as connection:
        yield from (f"verify: {found.name}: {found.text}" for found in verify_ledger(connection))
    with world.stage.engine.begin() as connection:
        steps = list(walk_chains(connection, [CHAIN_KEY]))
    yield from (f"chain of account {found.account_id}: {found.text}" for step in steps for found in step.differences)
    (entries,) = world.stage.rows("SELECT count(*) FROM entries")
    if sum(step.entries for step in steps) != entries["count"]:
        yield "not every entry is in its account's chain"
    for row in world.stage.rows(f"""
        SELECT account_id, 'a lot is due' AS what FROM lots
        WHERE points_remaining > 0 AND expires_at <= '{INSTANTS[-1]}'
        UNION ALL SELECT account_id, 'a review is due' FROM accounts WHERE tier_until <= '{INSTANTS[-1]}'"""):
        yield f"account {row['account_id']}: {row['what']} although the tasks have run"


def _model(world: World) -> Iterator[str]:
    """Balances, tiers and orders are those of the naive model, which is told of them in the ledger's own order."""
    bodies = world.stage.bodies()
    happened: dict[Any, list[tuple[float, int, int]]] = defaultdict(list)
    for row in world.stage.rows("""
        SELECT account_id, inbox_id, 0 AS is_refund, sequence FROM orders WHERE account_id IS NOT NULL
        UNION ALL SELECT o.account_id, r.inbox_id, 1, e.sequence
        FROM refunds r JOIN orders o USING (source, order_id, program_id)
        LEFT JOIN entries e ON e.account_id = o.account_id AND e.refund_id = r.refund_id AND e.source = r.source
        WHERE o.account_id IS NOT NULL
        UNION ALL SELECT o.account_id, c.inbox_id, 1, e.sequence
        FROM order_events c JOIN orders o USING (source, order_id, program_id)
        LEFT JOIN entries e ON e.account_id = o.account_id AND e.order_id = o.order_id AND e.source = o.source
                               AND e.kind = 'clawback' AND e.refund_id IS NULL
        WHERE o.account_id IS NOT NULL AND c.kind = 'cancelled'"""):
        # A refund without an entry found nothing more to take, so that it could as well have come last.
        happened[row["account_id"]].append((row["sequence"] or float("inf"), row["is_refund"], row["inbox_id"]))
    orders = {(row["account_id"], row["order_id"]): row for row in world.stage.rows("SELECT * FROM orders")}
    for account in world.stage.rows("SELECT * FROM accounts"):
        program = PROGRAM_OF[f"/shops/{account['program_id']}"]
        if program.has_limits or account["program_id"] == "spent":
            continue
        naive = NaiveAccount(program)
        for _, _, inbox_id in sorted(happened[account["account_id"]]):
            fact = _fact(bodies[inbox_id])
            if isinstance(fact, Order):
                naive.complete(fact, expires_at(program.expiry, program.zone, fact.occurred_at))
            else:
                naive.refund(fact, AS_OF)
        naive.expire(AS_OF)
        name = f"account {account['account_id']} of {account['customer_id']}"
        pending = sum(
            naive.earned[order_id]
            for order_id in naive.orders
            if f"/shops/{account['program_id']}" == HELD and not orders[account["account_id"], order_id]["fulfilled_at"]
        )
        found = account["balance"], account["pending"], account["deficit"]
        expected = naive.balance - pending, pending, naive.debt
        if found != expected:
            yield f"{name}: balance, pending and deficit are {found}, the naive model has {expected}"
        tier = naive.tier if f"/shops/{account['program_id']}" == LASTING else program.tiers[0].tier_id
        if account["tier_id"] != tier:
            yield f"{name}: the tier is {account['tier_id']}, the naive model has {tier}"
        for order_id in naive.orders:
            row = orders[account["account_id"], order_id]
            held = (row["points_entitled"], row["points_excused"], row["points_shortfall"])
            wanted = (naive.earned[order_id], naive.excused[order_id], naive.shortfall[order_id])
            if held != wanted:
                yield f"{name}: order {order_id} has {held} points, the naive model {wanted}"


def _limits(world: World) -> Iterator[str]:
    """No more is given than the limits allow, and what is counted of them is what the orders have."""
    program, bodies = PROGRAM_OF[SCARCE], world.stage.bodies()
    refunds: dict[str, list[Refund]] = defaultdict(list)
    for row in world.stage.rows("""
        SELECT inbox_id FROM refunds WHERE program_id = 'scarce'
        UNION ALL SELECT inbox_id FROM order_events WHERE program_id = 'scarce' AND kind = 'cancelled'"""):
        fact = _fact(bodies[row["inbox_id"]])
        assert isinstance(fact, Refund)
        refunds[fact.order_id].append(fact)
    kept: dict[str, Fraction] = defaultdict(Fraction)
    for row in world.stage.rows("SELECT inbox_id FROM orders WHERE program_id = 'scarce' AND account_id IS NOT NULL"):
        fact = _fact(bodies[row["inbox_id"]])
        assert isinstance(fact, Order)
        kept[fact.customer_id or ""] += kept_amount(fact, refunds[fact.order_id], program)
    with world.stage.engine.begin() as connection:
        limits = load_limits(connection, program)
    yield from limit_problems(limits, budget_points=BUDGET_POINTS, cap_per_day=CAP_PER_DAY, step=STEP, kept=kept)


def _commands(world: World) -> Iterator[str]:
    """Each command has one answer, for ever; what they say that they moved is what the accounts have."""
    sent = {(event["source"], event["id"]) for event in world.history.commands}
    rows = {(row["source"], row["command_id"]): row for row in world.stage.rows("SELECT * FROM commands")}
    if rows.keys() != sent:
        yield f"answered are the commands {sorted(rows)}, and sent were {sorted(sent)}"
    points: Counter[str] = Counter()
    for row in world.stage.rows("""
        SELECT a.customer_id, sum(points_entitled) AS points FROM orders JOIN accounts a USING (account_id)
        WHERE a.program_id = 'spent' GROUP BY a.customer_id"""):
        points[row["customer_id"]] += int(row["points"])
    for answer in [row["answer"] for row in rows.values() if row["code"] is None]:
        whose = {each["account_id"]: each["customer_id"] for each in answer["accounts"]}
        for entry in answer["entries"]:
            points[whose[entry["account_id"]]] += entry["points"] + entry.get("reserved_change", 0)
    for row in world.stage.rows("SELECT customer_id, balance, reserved FROM accounts WHERE program_id = 'spent'"):
        if (row["balance"], row["reserved"]) != (points[row["customer_id"]], 0):
            yield f"{row}, and by orders and answers the balance is {points[row['customer_id']]}"


def _undone(world: World) -> Iterator[str]:
    """What is reserved is captured, voided, or back by its deadline, all of it once; a command is reversed once."""
    asked = {event["id"]: event["data"] for event in world.history.commands}
    reserved: Counter[str] = Counter()
    reversed_ones: Counter[str] = Counter()
    for row in world.stage.rows("SELECT command_id, answer FROM commands WHERE code IS NULL"):
        answer, data = row["answer"], asked[row["command_id"]]
        match answer["command"]:
            case "authorize":
                reserved[data["authorization_id"]] += answer["points"]
            case "capture" | "void":
                reserved[data["authorization_id"]] -= answer["points"] + answer.get("points_returned", 0)
            case "reverse":
                reversed_ones[data["command_id"]] += 1
    yield from (f"command {name} was reversed {times} times" for name, times in reversed_ones.items() if times > 1)
    rows = {row["authorization_id"]: row for row in world.stage.rows("SELECT * FROM authorizations")}
    if rows.keys() != reserved.keys():
        yield f"authorizations are {sorted(rows)}, and by the answers {sorted(reserved)}"
    for name, row in rows.items():
        held = row["points_authorized"] - row["points_captured"] - row["points_returned"]
        is_by_deadline = row["state"] == "expired"
        if held or row["state"] == "open" or reserved[name] < 0 or (reserved[name] > 0) is not is_by_deadline:
            yield f"authorization {name} is {row}; its commands have left {reserved[name]} points to its deadline"


def _events(world: World) -> Iterator[str]:
    """A consumer that drops repeats sees every event, as it was written, each account's in order and without gaps."""
    # An answer that is told again is the same event again.
    written = {json.loads(row["body"])["id"]: row["body"] for row in world.stage.rows("SELECT body FROM outbox")}
    arrived: dict[str, str] = {}
    for _, body in world.exchange.arrivals:
        event_id = json.loads(body)["id"]
        if arrived.setdefault(event_id, body) != body:
            yield f"event {event_id} came again with another body"
    if arrived != written:
        lost, unknown = sorted(written.keys() - arrived.keys()), sorted(arrived.keys() - written.keys())
        yield f"events that never arrived: {lost}; that arrived and were not written as they came: {unknown}"
    for row in world.stage.rows(f"SELECT event_key FROM {UNPUBLISHED} AS u"):
        yield f"event {row['event_key']} is not marked as published"
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in map(json.loads, arrived.values()):
        if "sequence" in event["data"]:
            numbers[event["subject"], event["type"]].append(event["data"]["sequence"])
        elif event["type"] == "loyalty.account.created" and (event["subject"], "loyalty.balance.changed") in numbers:
            yield f"account {event['subject']} was told to be opened after its first change"
    for (subject, kind), found in numbers.items():
        if found != list(range(1, len(found) + 1)):
            yield f"{kind} of account {subject} arrived in the order {found}"
    parked = world.stage.rows("SELECT inbox_id, times_parked FROM inbox WHERE times_parked > 0")
    told = Counter(json.loads(body)["data"]["inbox_id"] for body in arrived.values() if '"parked:' in body)
    if told != {row["inbox_id"]: row["times_parked"] for row in parked}:
        yield f"told to be parked: {dict(told)}; parked: {parked}"


def _repeats(world: World) -> Iterator[str]:
    """An event is repeated only because something happened to the relay that had sent it."""
    clean = Counter(body for sent in world.exchange.publications if sent.is_clean for _, body in sent.events)
    told = Counter(row["body"] for row in world.stage.rows("SELECT body FROM outbox"))
    for body, count in clean.items():
        if count > told[body]:
            yield f"event {json.loads(body)['id']} was sent {count} times, and written {told[body]} times"


def _key(event: dict[str, Any], name: str) -> tuple[str, str]:
    return event["source"], event["data"][name]


def _fact(event: dict[str, Any]) -> Order | Refund:
    data = event["data"]
    at: datetime = instant(event["time"].replace("Z", "+00:00"))
    if event["type"] == "order.cancelled":
        return refund_fact(refund_id="", order_id=data["order_id"], at=at)
    if "refund_id" in data:
        made = refund_fact(net=data.get("net"), refund_id=data["refund_id"], order_id=data["order_id"], at=at)
    else:
        return order_fact(data["lines"][0]["amount"], data["order_id"], at=at, customer_id=data["customer_id"])
    return made

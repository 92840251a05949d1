"""Valid programs of every kind, for the property tests: made once, since that takes long, and always the same."""

from random import Random
from typing import Any, NamedTuple

from core.domain.program import Program
from tests.facts import TIER_IDS, program_with

SKUS = ("apple", "pear", "tea", "cup")
CATEGORIES = ("fruit", "drinks", "gifts")
REWARDS = ("mug", "ride")
#: Another program, to which points may be converted.
MONEY = program_with(program_id="money", sources=[], expiry={"policy": "after_days", "days": 30})
CLAWBACKS = ("proportional", "full_refund", "never")
ROUNDINGS = ("floor", "ceil", "half_up", "half_even")
RATES = [{"ends_on": "2026-01-20", "rate": "0.93"}, {"starts_on": "2026-01-21", "rate": 1}]


class Versions(NamedTuple):
    """A program, and what follows it: other rules, promotions and policies, with the same tiers."""

    first: Program
    second: Program


def various_versions(count: int, seed: int = 7) -> list[Versions]:
    """Pairs of programs that use everything that a program can say, in all mixtures."""
    random = Random(seed)
    found = []
    for _ in range(count):
        tiers = _tiers(random)
        found.append(Versions(*(program_with(**tiers, **_rest(random)) for _ in range(2))))
    return found


def mergeable_versions(count: int, seed: int = 7) -> list[Versions]:
    """Such pairs of which the first lets accounts be merged."""
    found: list[Versions] = []
    while len(found) < count:
        more = various_versions(count, seed)
        found += [versions for versions in more if not versions.first.has_inactivity]
        seed += 1_000_003
    return found[:count]


def _maybe(random: Random, chance: float, **fields: Any) -> dict[str, Any]:
    return fields if random.random() < chance else {}


def _tiers(random: Random) -> dict[str, Any]:
    """Tiers that a story reaches, by any measure and window."""
    measure, field, thresholds = random.choice(
        [
            ("points", "threshold_points", (0, 60, 150)),
            ("spend", "threshold_amount", ("0", "90.50", "250")),
            ("orders", "threshold_orders", (0, 2, 5)),
        ]
    )
    window = random.choice(["lifetime", "rolling_months", "calendar_year", "membership_year"])
    qualification = {
        "measure": measure,
        "window": window,
        **({"months": random.choice([1, 2, 5])} if window == "rolling_months" else {}),
        "downgrade": random.choice(["to_fit", "one_step", "never"]),
        "grace_days": random.choice([0, 0, 10, 40]),
        "refunds": random.choice(["at_once", "at_review", "never"]),
        "crossing_order": random.choice(["old_tier", "new_tier"]),
    }
    tiers = [
        {"tier_id": tier_id, field: threshold, "multiplier": random.choice(["1", "1", "1.25", "2"])}
        for tier_id, threshold in zip(TIER_IDS, thresholds, strict=True)
    ]
    zone = random.choice(["Europe/Berlin", "America/New_York", "Pacific/Auckland"])
    return {"qualification": qualification, "tiers": tiers, "time_zone": zone}


def _rest(random: Random) -> dict[str, Any]:
    combine = random.choice(["best", "stack"])
    rules = [_rule(random, f"r{n}") for n in range(random.choice([0, 1, 1, 1, 2, 2, 3, 3]))]
    for rule in rules:
        if combine == "best" and len(rules) > 1:
            rule.pop("carry", None)
    return {
        "combine": combine,
        "earning_rules": rules,
        "combine_promotions": random.choice(["all", "best", "newest"]),
        "promotions": [_promotion(random, f"p{n}") for n in range(random.choice([0, 0, 1, 2, 3]))],
        "counted_orders": random.choice(["earning", "earning", "paid", "all"]),
        "availability": random.choice(
            [
                {},
                {},
                {"policy": "after_days", "days": random.choice([1, 14])},
                {"policy": "on_fulfilled"},
                {"policy": "days_after_fulfilment", "days": random.choice([1, 7])},
            ]
        ),
        "expiry": _expiry(random),
        "currencies": {"CHF": random.choice(["1.0712", RATES])},
        "clawback": {
            "policy": random.choice(["allow_negative", "clamp", "pending_only"]),
            **_maybe(random, 0.4, takes_reserved=True),
        },
        **_maybe(random, 0.4, returned_points_grace_days=random.choice([1, 15])),
        **_maybe(random, 0.4, limits=_customer_limits(random)),
        **_maybe(random, 0.8, conversions=[_conversion(random)]),
        **_maybe(random, 0.2, access="owner"),
        "rewards": [_reward(random, reward_id) for reward_id in REWARDS if random.random() < 0.8],
        "basis": {
            "kinds": random.choice([["product"], ["product", "shipping"]]),
            "tax": random.choice(["excluded", "included"]),
            "points_paid": random.choice(["excluded", "included"]),
            "free_pieces": random.choice(["excluded", "included"]),
            "kept_fees": random.choice(["excluded", "included"]),
        },
    }


def _reward(random: Random, reward_id: str) -> dict[str, Any]:
    gives = random.choice([{"kind": "item", "sku": "cup"}, {"kind": "percent", "percent": "10"}])
    return {
        "reward_id": reward_id,
        "name": reward_id.title(),
        **gives,
        "cost": random.choice([5, 20, 45]),
        **_maybe(random, 0.5, stock=random.choice([1, 3])),
        **_maybe(random, 0.5, per_customer=random.choice([1, 2])),
        **_maybe(random, 0.15, starts_on="2026-02-01"),
        **_maybe(random, 0.15, ends_on="2026-06-30"),
        **_maybe(random, 0.15, tiers=["silver", "gold"]),
    }


def _conversion(random: Random) -> dict[str, Any]:
    return {
        "to_program": MONEY.program_id,
        "points": random.choice([1, 7, 10]),
        "gives": random.choice([1, 3]),
        "rounding": random.choice(ROUNDINGS),
        **_maybe(random, 0.3, points_min=10),
        **_maybe(random, 0.2, points_step=5),
    }


def _customer_limits(random: Random) -> dict[str, Any]:
    return {
        name: {
            **_maybe(random, 0.5, per_day=random.choice([40, 120])),
            **_maybe(random, 0.5, per_month=random.choice([90, 300])),
        }
        for name in ("redeem", "transfer", "convert", "credit")
    }


def _expiry(random: Random) -> dict[str, Any]:
    policies: list[dict[str, Any]] = [
        {"policy": "never"},
        {"policy": "after_days", "days": random.choice([1, 20, 90])},
        {"policy": "after_months", "months": random.choice([1, 3])},
        {"policy": "after_months", "months": 1, "end_of": random.choice(["month", "quarter", "half_year", "year"])},
        {"policy": "fixed_day", "day": random.choice(["02-29", "03-31", "12-31"]), **_maybe(random, 0.5, months=2)},
        {"policy": "inactivity", "days": 40},
        {"policy": "inactivity", "months": 2},
    ]
    return random.choice(policies)


def _when(random: Random) -> dict[str, Any]:
    return {
        **_maybe(random, 0.1, starts_on="2026-02-01"),
        **_maybe(random, 0.1, ends_on="2026-06-30"),
        **_maybe(random, 0.1, hours=[{"days": ["mon", "tue", "wed", "fri"], "start": "08:00", "end": "21:30"}]),
        **_maybe(random, 0.1, channels=["web"]),
        **_maybe(random, 0.1, attributes={"paid": [True], "till": [1, 2]}),
        **_maybe(random, 0.1, tiers=["silver", "gold"]),
        **_maybe(random, 0.1, customer_tags=["vip", "staff"]),
        **_maybe(random, 0.1, first_order=random.choice([True, False])),
        **_maybe(random, 0.2, minimum_amount=random.choice(["5", "30"])),
        **_maybe(random, 0.1, minimum_quantity=random.choice([2, 3, "5"])),
        **_maybe(random, 0.05, minimum_price=random.choice(["0.01", "10"])),
        **_maybe(random, 0.05, maximum_price=random.choice(["12", "40"])),
    }


def _line_conditions(random: Random) -> dict[str, Any]:
    least = random.choice(["0.01", "1.50", "12"])
    return {
        **_maybe(random, 0.1, minimum_quantity=random.choice([1, 2, "3.5"])),
        **_maybe(random, 0.1, minimum_amount=random.choice(["0.50", "20"])),
        **_maybe(random, 0.1, minimum_price=least),
        **_maybe(random, 0.1, maximum_price=random.choice([least, "30"])),
    }


def _lines(random: Random) -> dict[str, Any]:
    choices: list[dict[str, Any]] = [
        {},
        {},
        {"skus": ["apple", "tea"]},
        {"categories": ["fruit"], "exclude_skus": ["pear"]},
        {"exclude_categories": ["gifts"]},
        {"exclude_kinds": ["shipping"]},
    ]
    return random.choice(choices) | _line_conditions(random)


def _rule(random: Random, rule_id: str) -> dict[str, Any]:
    kind = random.choice(["spend", "spend", "spend", "visit", "item", "category"])
    rate = random.choice(["0", "0.3333", "1", "2.5", "7"])
    points: Any = random.choice([rate, {"bronze": rate, "silver": "2", "gold": "3.5"}])
    rule: dict[str, Any] = {"rule_id": rule_id, "kind": kind, "points": points, "when": _when(random)}
    rule |= _maybe(random, 0.2, expiry=_expiry(random))
    if kind == "spend" and random.random() < 0.2:
        lines = _lines(random)
        return rule | {"per_amount": random.choice(["7", "50"]), "carry": True, "lines": lines}
    caps = {
        **_maybe(random, 0.15, per_order=random.choice([5, 60])),
        **_maybe(random, 0.15, per_day=random.choice([10, 60])),
        **_maybe(random, 0.15, per_month=random.choice([20, 90])),
    }
    rule |= {"caps": caps, "clawback": random.choice(["proportional", *CLAWBACKS])}
    if kind != "visit":
        rule["rounding"] = random.choice(ROUNDINGS)
    if kind == "spend":
        rule |= {
            "per_amount": random.choice(["0.7", "1.00", "3", "10"]),
            "round_per": random.choice(["order", "order", "line"]),
            "lines": _lines(random),
            **_maybe(random, 0.2, steps="whole"),
        }
    elif kind == "visit":
        rule["lines"] = _lines(random)
    elif kind == "item":
        rule["skus"] = random.choice([["apple"], ["tea", "cup"]])
    else:
        rule["categories"] = random.choice([["fruit"], ["fruit", "drinks"]])
        rule["exclude_skus"] = random.choice([[], ["pear"]])
    if kind in {"item", "category"}:
        rule |= {**_line_conditions(random), **_maybe(random, 0.3, free_pieces=random.choice(["excluded", "included"]))}
    return rule


def _promotion(random: Random, promotion_id: str) -> dict[str, Any]:
    kind = random.choice(["multiplier", "addition"])
    gives = {"multiplier": random.choice(["1.5", "2", "3"])} if kind == "multiplier" else {"points": 25}
    limits = {
        **_maybe(random, 0.2, orders_per_customer=2),
        **_maybe(random, 0.2, orders_per_customer_and_day=1),
        **_maybe(random, 0.2, orders=3),
        **_maybe(random, 0.2, budget_points=40),
    }
    return {
        "promotion_id": promotion_id,
        "kind": kind,
        **gives,
        "limits": limits,
        "when": _when(random),
        "lines": _lines(random),
        "clawback": random.choice(CLAWBACKS),
        "rounding": random.choice(ROUNDINGS),
        **_maybe(random, 0.3, expiry=_expiry(random)),
    }

"""What one rule or promotion gave, in words: from the calculation that the ledger keeps with an entry."""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any

from workers.cli.output import count_text

Calculation = Mapping[str, Any]

_ROUNDINGS = {
    "floor": "rounded down",
    "ceil": "rounded up",
    "half_up": "rounded, halves up",
    "half_even": "rounded, halves to the even number",
}
_KEPT = {"never": "refunds do not reduce it", "full_refund": "only a refund of everything takes it back"}
#: Lines that are named one by one; of more, the rest is counted. `--json` has all.
_LINES_MAX = 20


def rule_text(rule: Calculation, currency: str | None, whole_amount: str) -> str:
    """How an earning rule came to its points. `whole_amount` is what earns of the order, where the rule has no own."""
    given = f"{_rate_text(rule, currency)} gives {rule.get('points_before_limit', rule['points']):,}"
    own = rule.get("basis_amount")
    if "kind" not in rule and own is not None and (own != whole_amount or "carried_in" in rule):
        given = f"{money_text(own, currency)}: {given}"
    parts = [f"rule {rule['rule_id']}", *_manners(rule)]
    text = f"{given} ({', '.join(parts)})"
    if "carried_in" in rule:
        text += _carry_text(rule, currency)
    return text + _limit_text(rule) + _kept_text(rule, "; ")


def promotion_text(promotion: Calculation) -> str:
    """How a promotion came to its points."""
    before = promotion.get("points_before_limit", promotion["points"])
    name = f"promotion {promotion['promotion_id']}"
    if promotion["kind"] == "multiplier":
        text = f"{promotion['multiplier']} times {promotion['base_points']:,} gives {before:,} more ({name})"
    elif before == promotion["points_added"]:
        text = f"{before:,} more ({name})"
    else:
        text = f"{before:,} more, of {promotion['points_added']:,} for the whole order ({name})"
    return text + _limit_text(promotion) + _kept_text(promotion, "; ")


def not_best_text(rule: Calculation) -> str:
    """A rule that lost against a better one."""
    return f"{rule['points']:,} by rule {rule['rule_id']}, which do not count: only the best rule does"


def line_texts(rule: Calculation, currency: str | None) -> Iterator[str]:
    """The lines of the order that a rule counted, one by one; nothing for a rule that counts them all."""
    lines = rule.get("lines")
    if lines is None:
        return
    for line_id, (amount, quantity) in islice(lines.items(), _LINES_MAX):
        yield f"line {line_id}: {pieces_text(quantity)}, {money_text(amount, currency)}"
    count = rule.get("lines_count", len(lines))
    if count > _LINES_MAX:
        yield f"and {count_text(count - _LINES_MAX, 'more line')}"


def money_text(amount: str, currency: str | None) -> str:
    """An amount as people write it: 12.50 and not 12.5; without a currency as it is."""
    if currency is None:
        return amount
    _, _, fraction = amount.partition(".")
    return f"{amount}{'0' if len(fraction) == 1 else ''} {currency}"


def basis_text(why: Calculation, currency: str | None) -> str:
    """What earns of an order: `89.93 EUR`, with what it was in another currency."""
    text, converted = money_text(str(why.get("basis_amount", "?")), currency), why.get("converted")
    if converted is None:
        return text
    return f"{money_text(converted['amount'], converted['currency'])} at {converted['rate']} = {text}"


def with_counted_rules(why: Calculation, points: int) -> Calculation:
    """The calculation with the rules that count apart from those that lost against the best one.

    Where all rules are plain rates on the amount, entries name them all together; `points` says which of them count.
    """
    rules = why.get("rules", [])
    in_all = sum(each["points"] for each in (*rules, *why.get("promotions", [])))
    if len(rules) <= 1 or in_all <= points:
        return why
    best = max(rules, key=lambda rule: int(rule["points"]))  # the first of equals
    others = [rule for rule in rules if rule is not best]
    return {**why, "rules": [best], "rules_not_best": others}


def earning_texts(why: Calculation, currency: str | None) -> list[str]:
    """Every rule and promotion that gave points or would have, each in a text of its own."""
    whole = str(why.get("basis_amount", "?"))
    return [
        *(rule_text(rule, currency, whole) for rule in why.get("rules", [])),
        *(not_best_text(rule) for rule in why.get("rules_not_best", [])),
        *(promotion_text(promotion) for promotion in why.get("promotions", [])),
    ]


def _rate_text(rule: Calculation, currency: str | None) -> str:
    points = rule["points_per"]
    multiplier = f" times {rule['tier_multiplier']} for the tier" if "tier_multiplier" in rule else ""
    match rule.get("kind", "spend"):
        case "spend":
            unit = "" if currency is None else f" {currency}"
            per = "for each whole" if "steps" in rule else "per"
            return f"{points}{multiplier} {per} {rule['per_amount']}{unit}"
        case "visit":
            return f"{points}{multiplier} for the order"
        case _:
            pieces = pieces_text(rule.get("quantity", "0"))
            return f"{points}{multiplier} for {'' if pieces == '1 piece' else 'each of '}{pieces}"


def _manners(rule: Calculation) -> Iterator[str]:
    if "rounding" in rule:
        each = " line by line" if rule.get("round_per") == "line" else ""
        rounding = str(rule["rounding"])
        yield _ROUNDINGS.get(rounding, rounding) + each
    if "lines" in rule:
        count = rule.get("lines_count", len(rule["lines"]))
        yield f"it counts {count_text(count, 'line')} of the order"


def _carry_text(rule: Calculation, currency: str | None) -> str:
    carried, left = rule["carried_in"], rule["left_over"]
    text = ""
    if carried != "0":
        text += f"; with {money_text(carried, currency)} left over from earlier orders"
    return f"{text}; {left_over_text(left, currency)} left over for the next order"


def left_over_text(left: str, currency: str | None) -> str:
    """The remainder that is kept for the next order, as the beginning of a sentence about it."""
    return "nothing is" if left == "0" else f"{money_text(left, currency)} are"


def _limit_text(part: Calculation) -> str:
    if "points_before_limit" not in part:
        return ""
    return f", of which a cap or a budget leaves {part['points']:,}"


def kept_texts(why: Calculation) -> Iterator[str]:
    """What refunds have left to an order, whatever is kept of it, by the clawback of rules and promotions."""
    for part in (*why.get("rules", []), *why.get("promotions", [])):
        if "clawback" in part:
            name = f"rule {part['rule_id']}" if "rule_id" in part else f"promotion {part['promotion_id']}"
            yield f"It keeps {part['points']:,} by {name}{_kept_text(part, ': ')}."


def _kept_text(part: Calculation, before: str) -> str:
    """Why refunds did not reduce what it gave, behind `before`; where none came, there is nothing to say."""
    reason = _KEPT.get(part.get("clawback", ""))
    return "" if reason is None else f"{before}{reason}"


def pieces_text(quantity: str) -> str:
    """`1 piece`, `2 pieces`."""
    try:
        is_one = Decimal(quantity) == 1
    except InvalidOperation:  # it ends in …: no finite number of digits
        is_one = False
    return f"{quantity} {'piece' if is_one else 'pieces'}"

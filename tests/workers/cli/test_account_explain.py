"""`loyalty account explain`: why a customer has so many points, in sentences."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from core.domain.ledger import EntryKind
from core.reading.accounts import HistoryEntry
from tests.factories import PROGRAM_TEXT, cancellation, claim, fulfilment, line, order, refund
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine
from tests.workers.cli.explanations import explained, order_explained, outcomes, sentences
from workers.cli.entry_sentences import sentences_of, why_text

RULES = """
program_id: test
name: Test Rewards
currency: EUR
time_zone: Europe/Berlin
sources: ["/shops/test"]
combine: stack
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: 1, caps: {per_order: 100}}
  - {rule_id: steps, kind: spend, per_amount: "50.00", points: 1, carry: true}
  - {rule_id: cups, kind: item, skus: [CUP], points: "2.5"}
  - {rule_id: app, kind: visit, points: 10, when: {channels: [app], customer_tags: [vip]}}
  - {rule_id: tea, kind: category, categories: [tea], points: {bronze: 0, silver: 3}}
promotions:
  - {promotion_id: double, kind: multiplier, multiplier: 2, lines: {skus: [CUP]}}
  - promotion_id: welcome
    kind: addition
    points: 50
    when: {first_order: true, minimum_amount: "40.00"}
    clawback: full_refund
  - {promotion_id: once, kind: addition, points: 5, limits: {orders_per_customer: 1}}
tiers:
  - {tier_id: bronze, threshold_points: 0}
  - {tier_id: silver, threshold_points: 200}
"""
BASKET = [
    line("1", "120.00", sku="POT"),
    line("2", "30.50", quantity=3, sku="CUP", categories=["tea"]),
    line("3", "4.95", kind="shipping"),
]

UTC_ZONE = ZoneInfo("UTC")


@pytest.fixture
def rules(engine: Engine) -> Shell:
    """A worker with a program of every kind of rule."""
    return Shell(engine, shards=16, program_text=RULES)


def test_an_order_is_told_rule_by_rule_and_line_by_line(loyalty: CommandLine, rules: Shell) -> None:
    rules.take(order("o1", lines=BASKET))
    assert sentences(loyalty) == [
        [
            "150.50 EUR of it count, in tier bronze.",
            "1 per 1.00 EUR gives 150 (rule spend, rounded down), of which a cap or a budget leaves 100.",
            (
                "150.50 EUR: 1 per 50.00 EUR gives 3 (rule steps, rounded down);"
                " 0.50 EUR are left over for the next order."
            ),
            "2.5 for each of 3 pieces gives 7 (rule cups, rounded down, it counts 1 line of the order).",
            "    line 2: 3 pieces, 30.50 EUR.",
            "2 times 37 gives 37 more (promotion double).",
            "50 more (promotion welcome).",
            "5 more (promotion once).",
            "Tier bronze: the customer was in it from the beginning.",
        ]
    ]
    text = loyalty("account", "explain", "c1").out
    assert "  The balance is 202 points." in text
    assert "1. 2026-03-01 12:00  Order o1 earned 202 points: balance 202." in text
    assert "          line 2: 3 pieces, 30.50 EUR." in text, "lines stand below their rule"


def test_a_remainder_that_an_order_brings_from_earlier_ones_is_told(loyalty: CommandLine, rules: Shell) -> None:
    rules.take(order("o1", "30.00"))
    rules.take(order("o2", "20.50"))
    _, second = sentences(loyalty)
    assert second[2] == (
        "20.50 EUR: 1 per 50.00 EUR gives 1 (rule steps, rounded down); with 30 EUR left over from earlier orders;"
        " 0.50 EUR are left over for the next order."
    )


def test_a_refund_and_a_cancellation_say_what_the_order_still_earns(loyalty: CommandLine, rules: Shell) -> None:
    rules.take(order("o1", lines=BASKET), order("o2", "10.00"))
    rules.take(refund("r1", "o1", lines=[{"line_id": "2", "quantity": 1}]), cancellation("o2"))
    *_, refunded, cancelled = explained(loyalty)["entries"]
    assert "Refund r1 of order o1 took back" in refunded["headline"]
    assert refunded["sentences"][0] == "The order earns 186 with this refund, 202 before it."
    assert "4 more, of 5 for the whole order (promotion once)." in refunded["sentences"][-1]
    assert "Order o2 was cancelled, which took back 10 points" in cancelled["headline"]
    assert cancelled["sentences"][0] == "The order earns 0 now that it is cancelled, 10 before it."


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ("steps", "it comes to less than one point; 30 EUR are left over for the next order"),
        ("cups", "no line of the order counts for it"),
        (
            "app",
            (
                "it asks for channel app, and the order has web; "
                "it is for customers with the tag vip, and the order names none"
            ),
        ),
        ("tea", "no line of the order counts for it"),
        ("double", "no line of the order counts for it"),
        ("welcome", "it is only for a customer's first order, and order o1 of 2026-03-01 counts before it"),
        ("once", "its limits were reached when the order was posted (1 order of a customer)"),
    ],
)
def test_what_gave_nothing_for_an_order_says_why(loyalty: CommandLine, rules: Shell, part: str, reason: str) -> None:
    rules.take(order("o1", "100.00"))
    rules.take(order("o2", "30.00", time="2026-03-02T12:00:00Z", attributes={"channel": "web"}))
    points, text = outcomes(order_explained(loyalty, "o2"))[part]
    assert points == 0
    assert text.endswith(f"{part}: {reason}")


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("{starts_on: 2026-03-02}", "it starts on 2026-03-02, and the order was placed on 2026-03-01"),
        ("{ends_on: 2026-02-28}", "its last day was 2026-02-28, and the order was placed on 2026-03-01"),
        (
            '{hours: [{days: [mon], end: "10:00"}]}',
            "it is for mon 00:00 to 10:00, and the order was placed on Sunday 12:00",
        ),
        ("{tiers: [silver, gold]}", "it is for tier silver or gold, and the order earned in bronze"),
        ("{first_order: false}", "it is not for a customer's first order"),
        ("{attributes: {gift: [true], size: [1, 2]}}", "it asks for gift true, and the order names none"),
        ('{minimum_amount: "200.00"}', "what counts for it comes to 100 EUR, and it asks for 200.00 EUR"),
        ("{minimum_quantity: 5}", "1 piece counts for it, and it asks for 5"),
    ],
)
def test_a_condition_that_did_not_hold_is_named(loyalty: CommandLine, engine: Engine, when: str, reason: str) -> None:
    promotion = f"promotions:\n  - {{promotion_id: p, kind: addition, points: 5, when: {when}}}\n"
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + promotion)
    shell.take(order("o1", attributes={"size": 2}))
    assert outcomes(order_explained(loyalty, "o1"))["p"] == (0, f"nothing by promotion p: {reason}")


@pytest.mark.parametrize(
    ("combine", "reason"),
    [
        ("best", "it would give 5 more, but only the best promotion counts"),
        ("newest", "only the newest promotion counts, large"),
    ],
)
def test_a_promotion_that_another_one_kept_out_says_so(
    loyalty: CommandLine, engine: Engine, combine: str, reason: str
) -> None:
    promotions = (
        f"combine_promotions: {combine}\npromotions:\n  - {{promotion_id: small, kind: addition, points: 5}}\n"
        "  - {promotion_id: large, kind: addition, points: 9}\n"
    )
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + promotions)
    shell.take(order("o1"))
    told = outcomes(order_explained(loyalty, "o1"))
    assert told["small"] == (0, f"nothing by promotion small: {reason}")
    assert told["large"] == (9, "9 more (promotion large)")


@pytest.mark.parametrize("condition", ["", ", caps: {per_order: 1000}"], ids=["plain rates", "with limits"])
def test_of_the_rules_only_the_best_counts_and_the_others_are_told(
    loyalty: CommandLine, engine: Engine, condition: str
) -> None:
    other = f'  - {{rule_id: half, kind: spend, per_amount: "2.00", points: 1{condition}}}\n'
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT.replace("tiers:", f"{other}tiers:"))
    shell.take(order("o1"))
    [[_, best, lost, _]] = sentences(loyalty)
    assert best.startswith("1 per 1.00 EUR gives 100")
    assert lost == "50 by rule half, which do not count: only the best rule does."
    assert outcomes(order_explained(loyalty, "o1"))["half"][0] == 0


@pytest.mark.parametrize(
    ("clawback", "amount", "said"),
    [
        ("never", "99.00", "refunds do not reduce it"),
        ("full_refund", "9.00", "only a refund of everything takes it back"),
    ],
)
def test_what_refunds_leave_is_told_with_the_reason(
    loyalty: CommandLine, engine: Engine, clawback: str, amount: str, said: str
) -> None:
    extra = f"promotions:\n  - {{promotion_id: extra, kind: addition, points: 45, clawback: {clawback}}}\n"
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + extra)
    shell.take(order("o1"))
    shell.take(refund("r1", "o1", net=amount))
    [refunded] = order_explained(loyalty, "o1")["refunds"]
    assert refunded.endswith(f"points were taken. It keeps 45 by promotion extra: {said}.")
    assert f"45 more (promotion extra); {said}." in sentences(loyalty)[-1]


def test_an_order_is_told_with_its_lines_refunds_and_what_is_left(loyalty: CommandLine, rules: Shell) -> None:
    rules.take(order("o1", lines=BASKET))
    rules.take(refund("r1", "o1", lines=[{"line_id": "2", "quantity": 1}]), refund("r2", "o1", net="10.00"))
    told = order_explained(loyalty, "o1")
    assert (told["points_at_first"], told["points_now"]) == (202, told["points_in_ledger"])
    assert told["lines"][2] == "Line 3, sku-3, 1 for 4.95 EUR: a line of kind shipping does not earn."
    first, second = told["refunds"]
    assert "Refund r1 of line 2 (1 piece): the order earned 202 before it and earns 186 with it. 16 points" in first
    assert "Refund r2 of 10 EUR net of the whole order" in second
    assert [entry["sequence"] for entry in told["entries"]] == [1, 2, 3]
    text = loyalty("account", "explain", "c1", "--order", "o1").out
    assert f"It earns {told['points_now']} points now." in text
    assert f"{told['points_now']} points of it are left: available; they never expire." in text


def test_what_was_paid_with_points_is_told_and_what_else_does_not_count(loyalty: CommandLine, rules: Shell) -> None:
    lines = [line("1", "80.00", tax="16.00"), line("2", "20.00"), line("3", "4.95", kind="shipping")]
    rules.take(
        order("o1", lines=lines, points_paid="30.2375"), refund("r1", "o1", lines=[{"line_id": "2", "quantity": 1}])
    )
    told = order_explained(loyalty, "o1")
    assert told["lines"] == [
        "Line 1, sku-1, 1 for 80 EUR: 60 EUR of it count; 20 EUR were paid with points.",
        "Line 2, sku-2, 1 for 20 EUR: nothing of it counts; 1 of 1 came back; 20 EUR were refunded.",
        "Line 3, sku-3, 1 for 4.95 EUR: a line of kind shipping does not earn.",
    ]
    assert told["basis"] == [
        "30.2375 EUR of the order were paid with points; they do not count.",
        "The tax of 16 EUR does not count.",
    ]
    assert told["points_paid"] == "30.2375"
    assert sentences(loyalty)[0][0] == "75 EUR of it count, in tier bronze. 30.2375 EUR were paid with points."


def test_where_a_program_lets_points_and_tax_earn_it_is_told(loyalty: CommandLine, engine: Engine) -> None:
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + "basis: {tax: included, points_paid: included}\n")
    shell.take(order("o1", lines=[line("1", "80.00", tax="16.00")], points_paid="25.00"))
    told = order_explained(loyalty, "o1")
    assert told["lines"] == ["Line 1, sku-1, 1 for 80 EUR: 96 EUR of it count."]
    assert told["basis"] == [
        "25 EUR of the order were paid with points; they count like money.",
        "The tax of 16 EUR counts too.",
    ]


def test_an_order_is_told_by_the_version_that_was_frozen_with_it(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1"))
    shell.apply_program(PROGRAM_TEXT.replace('bronze: "1"', 'bronze: "9"'))
    told = order_explained(loyalty, "o1")
    assert (told["program_version"], told["points_now"]) == (1, 100)


def test_an_order_that_earned_nothing_is_explained_too(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "0.50"))
    told = order_explained(loyalty, "o1")
    assert outcomes(told)["spend"] == (0, "nothing by rule spend: it comes to less than one point")
    assert told["left"] == ["The ledger has no entry for it, as it earned nothing."]


def test_books_that_do_not_agree_with_the_rules_are_said_to_be_wrong(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1"))
    shell.execute("UPDATE orders SET points_entitled = 90")
    assert "the ledger has 90: run `loyalty verify`" in loyalty("account", "explain", "c1", "--order", "o1").out


def test_the_tier_is_told_with_what_led_to_it(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "600.00"), order("o2", "10.00", time="2026-03-02T12:00:00+01:00"))
    told = explained(loyalty)
    assert told["tier_history"] == [
        "2026-03-01 12:00  From bronze to silver: 600 qualifying points had been reached, and it takes 500."
    ]
    _, second = told["entries"]
    assert second["sentences"][-1] == "Tier silver: the customer was in it since 2026-03-01 12:00."
    assert "Next tier: gold, 1,385 to go (615 qualifying points of 2,000)." in told["summary"]


#: An order that took the customer to silver with others, and was another customer's after all.
TAKEN_BACK = [
    order("o1", "400.00"),
    order("o2", "5.00", time="2026-03-02T12:00:00+01:00"),
    order("o3", "450.00", time="2026-03-04T12:00:00+01:00"),
    order("o4", "2.00", time="2026-03-05T12:00:00+01:00"),
    claim("o1", "c2", previous_customer_id="c1"),
]


def test_a_tier_that_was_taken_back_begins_nothing(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(*TAKEN_BACK)
    shell.take(order("o5", "10.00", time="2026-03-06T12:00:00+01:00"))
    told = explained(loyalty)
    assert told["tier_history"][1:] == [
        (
            "2026-03-04 12:00  From silver to bronze: put right by what came later, with which it had been 455"
            " qualifying points."
        )
    ]
    assert {each["order_id"]: each["sentences"][-1] for each in told["entries"] if each["kind"] == "accrual"} == {
        **dict.fromkeys(("o1", "o2", "o3", "o5"), "Tier bronze: the customer was in it from the beginning."),
        "o4": "Tier silver: the customer was in it by what was known when the order came.",
    }


def test_a_tier_change_is_told_by_the_threshold_that_its_order_met(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "600.00"))
    shell.apply_program(
        PROGRAM_TEXT.replace("threshold_points: 500", "threshold_points: 700"), "2026-02-01T00:00:00+00:00"
    )
    [told] = explained(loyalty)["tier_history"]
    assert told.endswith("600 qualifying points had been reached, and it takes 500.")


@pytest.mark.parametrize(
    ("measure", "threshold", "next_tier"),
    [
        (
            "spend",
            'threshold_amount: "1500.00"',
            "high, 1,400.00 EUR to go (100.00 EUR of qualifying spend of 1,500.00 EUR)",
        ),
        ("orders", "threshold_orders: 3", "high, 2 to go (1 qualifying order of 3)"),
    ],
)
def test_units_of_the_next_tier_are_those_of_the_measure(
    loyalty: CommandLine, engine: Engine, measure: str, threshold: str, next_tier: str
) -> None:
    start, _, _ = PROGRAM_TEXT.partition("    points: {bronze")
    first, _, _ = threshold.partition(":")
    text = f"{start}    points: 1\nqualification: {{measure: {measure}}}\n"
    text += f"tiers:\n  - {{tier_id: low, {first}: 0}}\n  - {{tier_id: high, {threshold}}}\n"
    Shell(engine, shards=16, program_text=text).take(order("o1"))
    assert f"Next tier: {next_tier}." in explained(loyalty)["summary"]
    assert next_tier in loyalty("account", "show", "c1").out


def test_orders_of_the_months_before_count_for_the_next_tier(loyalty: CommandLine, engine: Engine) -> None:
    rolling = "qualification: {window: rolling_months, months: 3}\n"
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + rolling)
    shell.take(order("o1", "60.00", time=(datetime.now(UTC) - timedelta(days=45)).isoformat()))
    assert "Next tier: silver, 440 to go (60 qualifying points of 500)." in explained(loyalty)["summary"]


def test_a_cap_of_the_day_that_is_used_up_says_so(loyalty: CommandLine, engine: Engine) -> None:
    text = PROGRAM_TEXT.replace("tiers:", "    caps: {per_day: 100}\ntiers:", 1)
    shell = Shell(engine, shards=16, program_text=text)
    shell.take(order("o1", "80.00"), order("o2", "50.00"), order("o3", "9.00"))
    limited = outcomes(order_explained(loyalty, "o2"))["spend"]
    assert limited == (20, "1 per 1.00 EUR gives 50 (rule spend, rounded down), of which a cap or a budget leaves 20")
    assert outcomes(order_explained(loyalty, "o3"))["spend"] == (
        0,
        "nothing by rule spend: earlier orders of the day or month had reached its cap",
    )


def test_what_is_not_in_the_ledger_is_told_with_its_type(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1"), refund("r1", "o1", lines=[{"line_id": "9", "quantity": 1}]))
    shell.receive(cancellation("o1"), fulfilment("o1"))
    [account] = loyalty("account", "show", "c1", "--json").json["accounts"]
    assert [(each["type"], each["state"]) for each in account["open_messages"]] == [
        ("order.refunded", "dead"),
        ("order.cancelled", "received"),
        ("order.fulfilled", "received"),
    ]
    text = loyalty("account", "explain", "c1").out
    assert "Not in the ledger: a refund of order o1 (message 2) is parked as unknown_line, and needs a person" in text
    assert "Not in the ledger: a cancellation of order o1 (message 3) is about to be posted." in text


def test_an_order_that_is_not_the_customers_is_a_problem_with_a_hint(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1"), order("o2", customer_id="c2"), order("o3", customer_id=None))
    for order_id in ("o2", "o3", "O1", "nope"):
        printed = loyalty("account", "explain", "c1", "--order", order_id)
        assert printed.code == 1
        assert f"no order {order_id} of customer c1" in printed.err
        assert f"loyalty dead list --order {order_id}" in printed.err
    assert loyalty("account", "explain", "nobody").code == 1
    assert loyalty("account", "explain", "c1", "--program", "nope").code == 2


def entry(kind: EntryKind, why: dict[str, Any], points: int = 0) -> HistoryEntry:
    instant = datetime(2026, 3, 1, tzinfo=UTC)
    return HistoryEntry(
        1, kind, points, points, 0, instant, instant, "/s", "o1", None, None, why, 0, 0, "EUR", None, None, ()
    )


@pytest.mark.parametrize("why", [{}, {"rules": []}, {"tier": "bronze", "rules": []}])
def test_an_entry_of_an_earlier_release_that_says_less_can_be_told(why: dict[str, Any]) -> None:
    for kind in EntryKind:
        assert why_text(entry(kind, why), UTC_ZONE)
        assert sentences_of(entry(kind, why), UTC_ZONE)


def test_of_very_many_lines_the_first_are_named_and_the_rest_are_counted() -> None:
    lines = {str(n): ["1", "1"] for n in range(30)}
    rule = {"rule_id": "cups", "kind": "item", "points_per": "1", "quantity": "30", "rounding": "floor", "points": 30}
    texts = sentences_of(entry(EntryKind.ACCRUAL, {"rules": [{**rule, "lines": lines}]}, 30), UTC_ZONE)
    assert texts[2:4] == ["    line 0: 1 piece, 1 EUR.", "    line 1: 1 piece, 1 EUR."]
    assert texts[-1] == "    and 10 more lines."

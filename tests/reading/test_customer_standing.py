"""What a storefront asks about a customer: typed answers, without the words of the command line."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from core.domain.members import Member, Role
from core.errors import NotOpenedYetError, UnknownAccountError, UnknownCustomerError, UnknownProgramError
from core.reading.order_outcomes import NoPoints, OrderOutcome, load_order_outcomes
from core.reading.snapshot import snapshot_of
from core.reading.standing import Standing, load_account_history, require_accounts
from core.reading.storefront import find_standings
from tests.factories import command, line, order, refund
from tests.shell import Shell, take_by_operator

RULES = """
program_id: test
name: Test Rewards
currency: EUR
time_zone: UTC
sources: ["/shops/test"]
combine: stack
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: 1}
  - {rule_id: app, kind: visit, points: 10, when: {channels: [app]}}
promotions:
  - {promotion_id: large, kind: addition, points: 5, when: {minimum_amount: "100.00"}}
tiers:
  - {tier_id: bronze, threshold_points: 0}
  - {tier_id: silver, threshold_points: 200}
"""


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine, program_text=RULES)


def standing_of(shell: Shell, as_of: datetime | None = None) -> Standing:
    with shell.engine.begin() as connection:
        [standing] = find_standings(snapshot_of(connection), "c1", as_of=as_of).standings
    return standing


def outcome_of(shell: Shell) -> OrderOutcome:
    with shell.engine.begin() as connection:
        [outcome] = load_order_outcomes(connection, find_standings(snapshot_of(connection), "c1"), "o1", 50)
    return outcome


def test_a_standing_has_the_balance_its_lots_and_the_way_to_the_next_tier(shell: Shell) -> None:
    shell.take(order("o1", "40.00"))
    standing = standing_of(shell)
    assert (standing.account.balance, standing.account.tier_id) == (40, "bronze")
    assert [lot.points_remaining for lot in standing.lots] == [40]
    assert standing.next_tier is not None
    assert (standing.next_tier.tier.tier_id, standing.next_tier.units_to_go) == ("silver", 160)
    assert standing.qualifying_units == 40


def test_of_the_past_only_what_was_recorded_is_known(shell: Shell) -> None:
    shell.take(order("o1", "40.00"))
    then = shell.value("SELECT clock_timestamp()")
    shell.take(order("o2", "1.00"))
    past = standing_of(shell, then)
    assert (past.is_past, past.account.balance, past.qualifying_units, past.next_tier) == (True, 40, None, None)
    with shell.engine.begin() as connection, pytest.raises(NotOpenedYetError):
        find_standings(snapshot_of(connection), "c1", as_of=then - timedelta(days=1))


def test_an_unknown_customer_is_not_an_empty_answer(shell: Shell) -> None:
    with shell.engine.begin() as connection:
        with pytest.raises(UnknownCustomerError):
            require_accounts(connection, "nobody")
        with pytest.raises(UnknownCustomerError):
            find_standings(snapshot_of(connection), "nobody", program_id="test", as_of=datetime.now(UTC))
        with pytest.raises(UnknownProgramError):
            require_accounts(connection, "nobody", "no-such-program")


def test_the_history_is_bounded_and_ends_with_the_newest_entry(shell: Shell) -> None:
    shell.take(order("o1", "40.00"), order("o2", "2.00"), order("o3", "3.00"))
    with shell.engine.begin() as connection:
        found = find_standings(snapshot_of(connection), "c1")
        history = load_account_history(connection, found.registry, found.standings[0], 2)
    assert [entry.order_id for entry in history.entries] == ["o2", "o3"]
    assert (history.tier_changes, history.repairs) == ([], [])


def test_an_order_outcome_says_why_a_part_gave_nothing(shell: Shell) -> None:
    shell.take(order("o1", "40.00"))
    outcome = outcome_of(shell)
    parts = {part.name: part for part in (*outcome.rules, *outcome.promotions)}
    assert {name: (part.points, part.reason) for name, part in parts.items()} == {
        "spend": (40, None),
        "app": (0, NoPoints.CONDITIONS),
        "large": (0, NoPoints.BELOW_MINIMUM),
    }
    assert (parts["app"].unmet, parts["large"].amount) == (("channels",), "40")


def test_an_order_outcome_follows_its_refunds(shell: Shell) -> None:
    shell.take(order("o1", lines=[line("1", "30.00"), line("2", "10.00")]))
    shell.take(refund("r1", "o1", lines=[{"line_id": "2", "quantity": "1"}]))
    outcome = outcome_of(shell)
    assert (outcome.at_first.points, outcome.now.points) == (40, 30)
    assert [(each.before.points, each.after.points) for each in outcome.refunds] == [(40, 30)]
    assert [each.amount for each in outcome.lines] == ["30", None]
    assert [lot.points_remaining for lot in outcome.lots] == [30]
    assert [entry.kind.value for entry in outcome.entries] == ["accrual", "clawback"]


def test_all_accounts_of_a_customer_are_found_and_each_by_its_other_names(engine: Engine) -> None:
    shell = Shell(engine, program_text=RULES + "one_account_per_customer: false\n")
    members = [{"customer_id": "c2", "role": "member"}]
    shell.take(order("o1", "40.00"))
    take_by_operator(
        shell,
        command("account.create", "k1", account_id="second", customer_id="c1", members=members),
        command("account.link", "k2", account_id="second", card="9801-0007"),
        command("account.update", "k3", account_id="second", is_primary=True),
    )

    def found(name: str, kind: str) -> list[str | None]:
        with shell.engine.begin() as connection:
            standings = find_standings(snapshot_of(connection), name, kind=kind, program_id="test").standings
        return [standing.account.own_account_id for standing in standings]

    assert (found("c1", "customer"), found("c2", "customer")) == (["second", None], ["second"])
    assert (found("second", "account"), found("9801-0007", "card")) == (["second"], ["second"])
    with shell.engine.begin() as connection:
        [standing] = find_standings(snapshot_of(connection), "9801-0007", kind="card").standings
        with pytest.raises(UnknownAccountError, match="No account is found by the card 1111"):
            find_standings(snapshot_of(connection), "1111", kind="card")
    assert (standing.members, standing.linked) == ([Member("c2", Role.MEMBER)], [("card", "9801-0007")])
    assert found(str(standing.account.account_id), "account") == ["second"]

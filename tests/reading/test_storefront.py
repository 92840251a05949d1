"""What a storefront asks of `core.reading`: every answer typed, of one instant, and without a write."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import InternalError

from core.errors import UnknownAccountError, UnknownCustomerError, UnknownProgramError
from core.messages.inbound.personal_names import NoReferenceSaltError, UnusableNameError
from core.reading.quoted_orders import NotAnOrderError, OrderNotQuotedError, quote_order
from core.reading.snapshot import Reader, Snapshot
from core.reading.storefront import find_accounts, find_standings, history_page, rewards_of
from core.store.engine import create_database_engine
from core.store.grants import grant_role
from core.store.tables import metadata
from tests.database_roles import database_role
from tests.factories import command, line, order, refund
from tests.posting.test_rewards import CATALOGUE
from tests.shell import SALT, Shell, take_by_operator

PHONE, EMAIL, CARD = "+44 7400 123456", "ann@example.com", "9801-0007"
BASKET: dict[str, Any] = {"currency": "EUR", "lines": [line("1", "40.00")]}


@pytest.fixture
def shell(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """c1 has 70 points to spend, of 100 of an order; 30 are reserved for a basket."""
    monkeypatch.setenv("LOYALTY_REFERENCE_SALT", SALT)
    shell = Shell(engine, program_text=CATALOGUE)
    shell.take(order("o1", "100.00"))
    take_by_operator(
        shell,
        command("authorize", "a1", points=30, authorization_id="basket-9"),
        *(command("account.link", f"l-{kind}", **{kind: name}) for kind, name in NAMES.items()),
    )
    return shell


NAMES = {"phone": PHONE, "email": EMAIL, "card": CARD}


@pytest.fixture
def reader(shell: Shell) -> Reader:
    return Reader(shell.engine)


def test_an_account_is_found_by_customer_id_phone_mail_or_card(reader: Reader, shell: Shell) -> None:
    account_id = shell.value("SELECT account_id FROM accounts")
    salt = SALT.encode()
    with reader.snapshot() as now:
        names = {"customer": "c1", "account": str(account_id), **NAMES}
        for kind, name in names.items():
            [account] = find_accounts(now, name, kind=kind, salt=salt)
            assert (account.account_id, account.balance, account.reserved) == (account_id, 70, 30), kind
            [standing] = find_standings(now, name, kind=kind, salt=salt).standings
            assert standing.account == account
        assert [each.program_id for each in find_accounts(now, "c1", program_id="test")] == ["test"]


def test_a_name_that_leads_nowhere_or_is_none_is_no_empty_answer(reader: Reader) -> None:
    with reader.snapshot() as now:
        with pytest.raises(UnknownCustomerError):
            find_accounts(now, "nobody")
        with pytest.raises(UnknownAccountError):
            find_accounts(now, "1111", kind="card")
        with pytest.raises(UnknownProgramError):
            find_accounts(now, "nobody", program_id="none")
        with pytest.raises(NoReferenceSaltError):
            find_accounts(now, PHONE, kind="phone")
        with pytest.raises(UnusableNameError):
            find_accounts(now, "0740", kind="phone", salt=SALT.encode())


def test_a_standing_has_lots_the_next_tier_and_what_is_reserved(reader: Reader) -> None:
    with reader.snapshot() as now:
        [standing] = find_standings(now, "c1").standings
    assert [lot.points_remaining for lot in standing.lots] == [70]
    assert standing.next_tier is not None
    assert (standing.next_tier.tier.tier_id, standing.next_tier.units_to_go) == ("silver", 400)
    assert [(held.authorization_id, held.points_held) for held in standing.authorizations] == [("basket-9", 30)]
    assert standing.points_spendable == 70


def test_points_that_have_expired_and_those_of_a_deficit_cannot_be_spent(reader: Reader, shell: Shell) -> None:
    shell.execute("UPDATE lots SET expires_at = '2026-06-01T00:00Z'")
    with reader.snapshot() as now:
        assert find_standings(now, "c1").standings[0].points_spendable == 0
    shell.execute("UPDATE lots SET expires_at = NULL")
    shell.take(refund("r1", "o1", full=True))
    with reader.snapshot() as now:
        [standing] = find_standings(now, "c1").standings
        assert (standing.account.balance < 0, standing.points_spendable) == (True, 0)


def test_the_history_comes_by_pages_that_do_not_move_while_entries_are_added(reader: Reader, shell: Shell) -> None:
    shell.take(*(order(f"more-{number}", "1.00") for number in range(5)))
    with reader.snapshot() as now:
        [account] = find_accounts(now, "c1")
        first = history_page(now, account, 3)
    shell.take(order("later", "1.00"))
    pages = [first]
    with reader.snapshot() as now:
        [account] = find_accounts(now, "c1")
        while (before := pages[-1].before) is not None:
            pages.append(history_page(now, account, 3, before=before))
        newest = history_page(now, account, 1)
    assert [[entry.sequence for entry in page.entries] for page in pages] == [[5, 6, 7], [2, 3, 4], [1]]
    assert [entry.sequence for entry in newest.entries] == [8]


@pytest.mark.parametrize(("before", "sequences"), [(1, []), (2, [1]), (99, [1, 2]), (0, [])])
def test_a_page_beyond_the_end_is_the_nearest_there_is(reader: Reader, before: int, sequences: list[int]) -> None:
    with reader.snapshot() as now:
        [account] = find_accounts(now, "c1")
        page = history_page(now, account, before=before)
    assert [entry.sequence for entry in page.entries] == sequences
    assert page.before is None


def test_an_account_without_entries_has_one_empty_page(reader: Reader, shell: Shell) -> None:
    take_by_operator(shell, command("account.create", "k1", account_id="new", customer_id="c9"))
    with reader.snapshot() as now:
        [account] = find_accounts(now, "new", kind="account")
        assert history_page(now, account) == ([], None)


def test_a_basket_is_quoted_and_nothing_is_written(reader: Reader, shell: Shell) -> None:
    def counts() -> dict[str, int]:
        return {table: shell.value(f"SELECT count(*) FROM {table}") for table in metadata.tables}

    before = counts()
    with reader.snapshot() as now:
        quoted = quote_order(now, BASKET, customer_id="c1")
        as_event = quote_order(now, order("o2", "40.00"))
        for_nobody = quote_order(now, BASKET)
    assert (quoted.points, quoted.tier_id, quoted.account_after.balance) == (40, "bronze", 110)
    assert [part["rule_id"] for part in quoted.why["rules"]] == ["spend"]
    assert (as_event.points, as_event.is_new_customer) == (40, False)
    assert (for_nobody.is_new_customer, BASKET.keys()) == (True, {"currency", "lines"})
    assert counts() == before


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (b"{", OrderNotQuotedError, "not_json"),
        ({"currency": "EUR", "lines": []}, OrderNotQuotedError, "invalid_data"),
        ({"currency": "EUR", "lines": [line("1", 40.0)]}, OrderNotQuotedError, "invalid_data"),  # type: ignore[arg-type]
        (refund("r1", "o1", net="1.00"), NotAnOrderError, "order.refunded"),
    ],
)
def test_what_is_no_order_is_refused_with_why(reader: Reader, given: Any, error: type[Exception], words: str) -> None:
    with reader.snapshot() as now, pytest.raises(error, match=words):
        quote_order(now, given, customer_id="c1")
    with reader.snapshot() as now, pytest.raises(UnknownProgramError):
        quote_order(now, BASKET, program_id="none")


def test_rewards_say_how_far_they_are(reader: Reader) -> None:
    with reader.snapshot() as now:
        [standing] = find_standings(now, "c1").standings
        offers = {each.reward.reward_id: each for each in rewards_of(now, standing)}
    assert (offers["mug"].points_short, offers["mug"].is_within_reach) == (0, True)
    assert (offers["five-off"].points_short, offers["five-off"].is_within_reach) == (30, False)
    assert (offers["tenth-off"].is_within_reach, offers["tenth-off"].problem is None) == (False, False)


def test_a_snapshot_stays_as_it_is_whatever_is_written(reader: Reader, shell: Shell) -> None:
    with reader.snapshot() as now:
        assert find_accounts(now, "c1")[0].balance == 70
        shell.take(order("o2", "5.00"))
        assert find_accounts(now, "c1")[0].balance == 70
    with reader.snapshot() as now:
        assert find_accounts(now, "c1")[0].balance == 75


def test_a_snapshot_can_change_nothing(reader: Reader) -> None:
    with pytest.raises(InternalError, match="read-only transaction"), reader.snapshot() as now:
        now.connection.execute(text("UPDATE accounts SET balance = 0"))


def test_programs_are_read_again_when_they_change(reader: Reader, shell: Shell) -> None:
    def programs(now: Snapshot) -> list[str]:
        return list(now.registry.program_ids())

    with reader.snapshot() as now:
        first = now.registry
    with reader.snapshot() as now:
        assert now.registry is first
        assert now.program("test").name == "Test Rewards"
        with pytest.raises(UnknownProgramError):
            now.program("none")
    shell.apply_program(CATALOGUE.replace("program_id: test", "program_id: more").replace("/shops/test", "/more"))
    with reader.snapshot() as now:
        assert programs(now) == ["more", "test"]


def test_a_role_that_only_reads_is_enough(shell: Shell) -> None:
    with database_role(shell.engine.url.render_as_string(hide_password=False), "storefront_") as role:
        with shell.engine.begin() as connection:
            grant_role(connection, role.name, read_only=True)
        engine = create_database_engine(role.url)
        with Reader(engine).snapshot() as now:
            [standing] = find_standings(now, "c1").standings
            assert standing.account.balance == 70
            assert rewards_of(now, standing)
            assert history_page(now, standing.account).entries
            assert quote_order(now, BASKET, customer_id="c1").points == 40
            assert now.as_of - standing.as_of < timedelta(minutes=1)
        engine.dispose()

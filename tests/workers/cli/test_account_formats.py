"""`--format`: accounts and transactions in Square's and Lightrail's words, which keep the schemas of these."""

import json
from datetime import datetime
from functools import cache
from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import Engine

from core.reading.shapes.lightrail import lightrail_account
from core.reading.shapes.square import square_account
from core.reading.snapshot import snapshot_of
from core.reading.storefront import find_standings
from tests.factories import PROGRAM_TEXT, command, fulfilment, order, refund
from tests.pages import ROOT
from tests.shell import SALT, Shell, take_by_operator
from tests.workers.cli.command_line import CommandLine
from tests.workers.cli.test_account_explain_at_random import random_messages

SHAPES = ROOT / "docs" / "schemas" / "shapes"
PHONE = "+44 7400 123456"


@cache
def validator(name: str) -> Draft202012Validator:
    schema = json.loads((SHAPES / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def square(loyalty: CommandLine, name: str = "c1", *options: str) -> dict[str, Any]:
    printed = loyalty("account", "show", name, "--format", "square", *options)
    [account] = printed.json["accounts"]
    validator("square.loyalty_account").validate(account)
    return dict(account)


def lightrail(loyalty: CommandLine, name: str = "c1") -> dict[str, Any]:
    [account] = loyalty("account", "show", name, "--format", "lightrail").json["accounts"]
    validator("lightrail.account").validate(account)
    return dict(account)


def transactions(loyalty: CommandLine, *options: str) -> list[dict[str, Any]]:
    [found] = loyalty("account", "history", "c1", "--format", "lightrail", *options).json["accounts"]
    validator("lightrail.account").validate(found["valueStore"])
    for each in found["transactions"]:
        validator("lightrail.transaction").validate(each)
        for step in each["steps"]:
            assert step["valueBefore"] + step["valueChange"] == step["valueAfter"]
    return list(found["transactions"])


@pytest.fixture
def by_command(shell: Shell) -> Shell:
    """An account of points with and without an end, of an order, a credit and an authorization."""
    shell.take(order("o1", "100.00"))
    take_by_operator(
        shell,
        command("credit", "g1", points=30, expires_at="2090-01-01T00:00:00Z"),
        command("credit", "g2", points=20, expires_at="2080-01-01T00:00:00Z"),
        command("authorize", "a1", points=15, authorization_id="basket-9", order_id="5004"),
    )
    return shell


def test_square_is_told_every_field_of_an_account(loyalty: CommandLine, by_command: Shell) -> None:
    account = square(loyalty)
    row = by_command.rows("SELECT * FROM accounts")[0]
    assert account == {
        "id": str(row.account_id),
        "program_id": "test",
        "balance": 135,
        "lifetime_points": 100,
        "customer_id": "c1",
        "enrolled_at": "2026-03-01T11:00:00Z",
        "created_at": account["created_at"],
        "updated_at": account["updated_at"],
        "expiring_point_deadlines": [
            {"points": 5, "expires_at": "2080-01-01T00:00:00Z"},
            {"points": 30, "expires_at": "2090-01-01T00:00:00Z"},
        ],
    }
    assert datetime.fromisoformat(account["created_at"]) == row.created_at
    assert datetime.fromisoformat(account["updated_at"]) == row.updated_at


def test_square_is_told_no_deadlines_where_nothing_expires_or_nothing_is_left(
    loyalty: CommandLine, shell: Shell
) -> None:
    shell.take(order("o1", "100.00"))
    assert "expiring_point_deadlines" not in square(loyalty)
    take_by_operator(
        shell, command("credit", "g1", customer_id="c2", points=30, expires_at="2090-01-01T00:00:00Z"),
        command("debit", "d1", customer_id="c2", points=30),
    )  # fmt: skip
    emptied = square(loyalty, "c2")
    assert (emptied["balance"], "expiring_point_deadlines" in emptied, "enrolled_at" in emptied) == (0, False, False)


def test_deadlines_come_to_the_balance_where_every_point_ends_and_are_absent_below_zero(
    loyalty: CommandLine, engine: Engine
) -> None:
    held = PROGRAM_TEXT + "expiry: {policy: after_months, months: 600}\navailability: {policy: on_fulfilled}\n"
    shell = Shell(engine, shards=16, program_text=held)
    shell.take(order("o1", "100.00"), fulfilment("o1"), order("o2", "40.00", time="2026-05-01T12:00:00+02:00"))
    account = square(loyalty)
    assert account["balance"] == sum(each["points"] for each in account["expiring_point_deadlines"]) == 100
    take_by_operator(shell, command("debit", "d1", points=70))
    shell.take(refund("r1", "o1", net="90.00"))
    account = square(loyalty)
    assert (account["balance"], "expiring_point_deadlines" in account) == (-60, False)
    assert shell.differences() == []


def test_points_that_have_expired_and_are_not_taken_yet_still_come_to_the_balance(
    loyalty: CommandLine, by_command: Shell
) -> None:
    by_command.execute("UPDATE lots SET expires_at = '2026-06-01T00:00Z' WHERE expires_at < '2085-01-01Z'")
    deadlines = square(loyalty)["expiring_point_deadlines"]
    assert [each["points"] for each in deadlines] == [5, 30]
    assert deadlines[0]["expires_at"] == "2026-06-01T00:00:00Z"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_of_random_histories_deadlines_and_steps_come_to_the_balance(
    loyalty: CommandLine, engine: Engine, seed: int
) -> None:
    rng = Random(seed)
    ends = PROGRAM_TEXT + "expiry: {policy: after_months, months: 600}\navailability: {policy: after_days, days: 2}\n"
    shell = Shell(engine, shards=16, program_text=ends)
    shell.take(*random_messages(rng, "/shops/test"))
    shell.release("2026-11-01T00:00:00Z")
    for number in range(4):
        points = rng.randint(1, 400)
        verb, more = rng.choice((("debit", {}), ("authorize", {}), ("adjust", {"reason": "counted again"})))
        take_by_operator(shell, command(verb, f"k{number}", points=points, **more))
    account, value = square(loyalty), lightrail(loyalty)
    deadlines = [each["points"] for each in account.get("expiring_point_deadlines", [])]
    undated = shell.value(
        "SELECT coalesce(sum(points_remaining), 0) FROM lots WHERE expires_at IS NULL AND NOT is_pending"
    )
    assert undated == 0
    assert sum(deadlines) == max(0, account["balance"]) == max(0, value["value"])
    booked = sum(sum(changes(each)) for each in transactions(loyalty, "--limit", "1000"))
    assert booked == account["balance"] == shell.balance()


def test_square_is_told_a_phone_number_only_by_who_knows_it(
    loyalty: CommandLine, by_command: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_REFERENCE_SALT", SALT)
    assert loyalty("account", "link", "c1", "--phone", PHONE).code == 0
    assert "mapping" not in square(loyalty)
    assert square(loyalty, PHONE, "--named-by", "phone")["mapping"] == {"phone_number": "+447400123456"}
    assert by_command.differences() == []


def test_lightrail_is_told_a_value_store(loyalty: CommandLine, shell: Shell) -> None:
    members = [{"customer_id": "c2", "role": "member"}, {"customer_id": "c3", "role": "viewer"}]
    more: dict[str, Any] = {"tags": ["vip"], "metadata": {"till": 7, "staff": True}}
    ends = {"points": 2500, "expires_at": "2090-01-01T00:00:00Z"}
    take_by_operator(
        shell, command("account.create", "k1", account_id="vs-1", customer_id="c1", members=members, **more, **ends)
    )
    assert lightrail(loyalty) == {
        "valueStoreId": "vs-1",
        "programId": "test",
        "currency": "points",
        "value": 2500,
        "type": "ACCOUNT",
        "preTax": False,
        "appliesTo": "cart",
        "expires": "2090-01-01T00:00:00Z",
        "active": True,
        "accessedBy": [{"customerId": "c1"}, {"customerId": "c2"}],
        **more,
    }
    shell.take(order("o1", "1.00"))
    take_by_operator(shell, command("account.freeze", "f1"))
    account = lightrail(loyalty)
    assert (account["value"], account["expires"], account["active"]) == (2501, "never", False)


def test_where_only_the_owner_may_spend_no_member_accesses_the_value(loyalty: CommandLine, engine: Engine) -> None:
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + "access: owner\nunit: EUR\n")
    members = [{"customer_id": "c2", "role": "member"}]
    take_by_operator(shell, command("account.create", "k1", account_id="vs-1", customer_id="c1", members=members))
    account = lightrail(loyalty)
    assert (account["accessedBy"], account["currency"], account["value"]) == ([{"customerId": "c1"}], "EUR", 0)
    assert account["expires"] == "never"


def test_lightrail_is_told_transactions_with_their_steps(loyalty: CommandLine, by_command: Shell) -> None:
    take_by_operator(
        by_command,
        command("capture", "k1", customer_id=None, authorization_id="basket-9", points=10),
        command("authorize", "a2", points=7),
        command("debit", "d1", points=8, reason="at the till"),
        command("reverse", "v1", customer_id=None, command_id="d1"),
    )
    by_command.take(refund("r1", "o1", net="10.00"))
    found = transactions(loyalty)
    assert [(each["transactionType"], each.get("pending"), changes(each)) for each in found] == [
        ("credit", None, [100]),
        ("credit", None, [30]),
        ("credit", None, [20]),
        ("debit", "captured", [-15]),
        ("capture", None, [5]),
        ("debit", "pending", [-7]),
        ("debit", None, [-8]),
        ("reverse", None, [8]),
        ("debit", None, [-10]),
    ]
    account_id = by_command.value("SELECT account_id FROM accounts")
    assert [each["transactionId"] for each in found][:2] == [f"{account_id}-1", f"{account_id}-2"]
    first, reserved, debited, last = found[0], found[3], found[6], found[8]
    assert first["metadata"] == {"kind": "accrual", "source": "/shops/test", "orderId": "o1"}
    assert reserved["metadata"]["orderId"] == "5004"
    assert (debited["metadata"]["commandId"], debited["metadata"]["note"]) == ("d1", "at the till")
    assert (last["metadata"]["kind"], last["metadata"]["refundId"]) == ("clawback", "r1")
    assert found[-1]["steps"][0]["valueAfter"] == lightrail(loyalty)["value"]


def test_transactions_come_by_pages(loyalty: CommandLine, by_command: Shell) -> None:
    assert by_command.balance() == 135
    asked = ("account", "history", "c1", "--format", "lightrail", "--limit", 3)
    [last] = loyalty(*asked).json["accounts"]
    [first] = loyalty(*asked, "--before", last["before"]).json["accounts"]
    assert ([changes(each) for each in last["transactions"]], last["before"]) == ([[30], [20], [-15]], 2)
    assert ([changes(each) for each in first["transactions"]], first["before"]) == ([[100]], None)


def changes(transaction: dict[str, Any]) -> list[int]:
    return [step["valueChange"] for step in transaction["steps"]]


def test_pending_points_are_a_transaction_once_they_are_available(loyalty: CommandLine, engine: Engine) -> None:
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + "availability: {policy: on_fulfilled}\n")
    shell.take(order("o1", "100.00"))
    assert transactions(loyalty) == []
    shell.take(fulfilment("o1"))
    [released] = transactions(loyalty)
    assert (released["transactionType"], released["metadata"]["kind"]) == ("credit", "release")


def test_native_is_what_json_prints(loyalty: CommandLine, by_command: Shell) -> None:
    assert by_command.balance() == 135
    for verb in ("show", "history"):
        told = loyalty("account", verb, "c1", "--format", "native").json
        plain = loyalty("account", verb, "c1", "--json").json
        assert told["accounts"] == plain["accounts"]


def test_the_past_and_unknown_words_are_refused(loyalty: CommandLine, by_command: Shell) -> None:
    assert by_command.balance() == 135
    past = ("--as-of", "2026-11-01T00:00:00Z")
    for words in (("show", "c1", "--format", "square"), ("history", "c1", "--format", "lightrail")):
        printed = loyalty("account", *words, *past)
        assert (printed.code, printed.out) == (2, "")
        assert "tells of the present; leave out --as-of" in printed.err
    assert loyalty("account", "show", "c1", "--format", "talon").code == 2
    assert loyalty("account", "history", "c1", "--format", "square").code == 2
    assert loyalty("account", "show", "nobody", "--format", "square").code == 1


def test_the_functions_refuse_the_past_too(shell: Shell) -> None:
    shell.take(order("o1", "100.00"))
    with shell.engine.begin() as connection:
        now = shell.value("SELECT clock_timestamp()")
        [past] = find_standings(snapshot_of(connection), "c1", as_of=now).standings
        for shape in (square_account, lightrail_account):
            with pytest.raises(ValueError, match="of the present"):
                shape(connection, past)


@pytest.mark.parametrize(
    ("name", "over"),
    [
        ("square.loyalty_account", {"id": "x" * 37}),
        ("square.loyalty_account", {"expiring_point_deadlines": []}),
        ("square.loyalty_account", {"enrolled_at": None}),
        ("square.loyalty_account", {"mapping": {"phone_number": "07400 123456"}}),
        ("square.loyalty_account", {"balance": "5"}),
        ("square.loyalty_account", {"tier": "gold"}),
        ("lightrail.account", {"type": "GIFTCARD"}),
        ("lightrail.account", {"expires": None}),
        ("lightrail.account", {"accessedBy": []}),
        ("lightrail.account", {"value": 1.5}),
    ],
)
def test_the_schemas_refuse_what_is_no_such_account(
    loyalty: CommandLine, by_command: Shell, name: str, over: dict[str, Any]
) -> None:
    assert by_command.balance() == 135
    account = square(loyalty) if name.startswith("square") else lightrail(loyalty)
    assert not validator(name).is_valid({**account, **over})


def test_every_field_of_the_shapes_is_described() -> None:
    for path in sorted(SHAPES.iterdir()):
        undescribed = [name for name, field in _fields(json.loads(path.read_text())) if "description" not in field]
        assert undescribed == [], path.name


def _fields(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, field in schema.get("properties", {}).items():
        found += [(name, field), *_fields(field), *_fields(field.get("items", {}))]
    return found

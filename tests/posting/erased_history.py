"""A customer's whole life here, marked wherever a message has room for something about a person."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, text
from uuid6 import uuid7

from core.posting.batch import Poster
from core.store.proof.chain import walk_chains
from core.store.tables import metadata
from tests.answers import TRUSTED
from tests.factories import (
    PROGRAM_TEXT,
    amendment,
    claim,
    command,
    fulfilment,
    goods_back,
    order,
    refund,
    reversion,
)
from tests.shell import EVENT_SOURCE, SALT, Shell, take_by_operator

#: The customer who is erased; others' ids must stay.
KIM, LEE, PAT, SAM, ANN = "kim-7701", "lee-7702", "pat-7703", "sam-7706", "ann-7707"
PHONE, EMAIL, CARD, OLD_CARD = "+44 7400 123456", "kim.miller@example.com", "CARD-7704", "CARD-7705"
WORDS = "said about Kim Miller"
#: Nothing of this may be left. Of phone and e-mail the hashes neither.
MARKS = (KIM, CARD, OLD_CARD, "Kim Miller", "7400 123456", "447400123456", "kim.miller", "vip-kim")
REWARDS = """
rewards:
  - {reward_id: mug, name: Mug, cost: 10, kind: item, sku: MUG}
"""
MONEY = PROGRAM_TEXT.replace("program_id: test", "program_id: money").replace('["/shops/test"]', '["/shops/money"]')
ABOUT: dict[str, Any] = {"attributes": {"channel": "app", "note": WORDS}, "customer_tags": ["vip-kim"]}
_AT = "2026-03-0{}T12:00:00+01:00"


def marked(event: dict[str, Any]) -> dict[str, Any]:
    """The event with fields beside those of its contract, which are kept as they came until they are erased."""
    beside = {"buyer": {"name": "Kim Miller", "mail": EMAIL}}
    return {**event, "comment": WORDS, "data": {**event["data"], **beside}}


def history() -> Iterator[list[dict[str, Any]]]:
    """Batches of messages, in the order in which they come."""
    yield from _orders()
    yield from _commands()
    yield _all_else()


def _orders() -> Iterator[list[dict[str, Any]]]:
    yield [
        marked(order("k1", "60.00", customer_id=KIM, time=_AT.format(1), **ABOUT)),
        marked(order("guest", "15.00", customer_id=None, time=_AT.format(1), **ABOUT)),
        order("p1", "500.00", customer_id=PAT, time=_AT.format(1)),
        order("n1", "50.00", customer_id=ANN, time=_AT.format(1)),
    ]
    yield [
        marked(claim("guest", KIM, time=_AT.format(2), event_id="claimed")),
        marked(refund("r1", "k1", lines=[{"line_id": "1", "net": "10.00"}], time=_AT.format(3))),
        marked(fulfilment("k1", time=_AT.format(3))),
        marked(amendment("k1", "70.00", customer_id=KIM, time=_AT.format(4), **ABOUT)),
        marked(goods_back("b1", "5.00", customer_id=KIM, time=_AT.format(5))),
    ]


def _commands() -> Iterator[list[dict[str, Any]]]:
    said = {"reason": WORDS}
    members = [{"customer_id": LEE, "role": "member"}, {"customer_id": KIM, "role": "viewer"}]
    yield [
        command("account.link", "l1", customer_id=KIM, card=CARD, **said),
        command("account.link", "l2", customer_id=KIM, phone=PHONE, **said),
        command("account.link", "l3", customer_id=KIM, email=EMAIL, **said),
        command("account.link", "l4", customer_id=KIM, card=OLD_CARD),
        command("account.unlink", "l5", customer_id=KIM, card=OLD_CARD, **said),
        command("account.create", "a1", customer_id=SAM, account_id="shared-1", members=members, points=500),
        command("account.update", "a2", customer_id=KIM, metadata={"note": WORDS}, tags=["vip-kim"], **said),
    ]
    yield [
        marked(order("k2", "40.00", customer_id=None, card=CARD, time=_AT.format(6), **ABOUT)),
        marked(order("k3", "30.00", customer_id=None, phone=PHONE, time=_AT.format(6))),
        marked(order("k2", "40.00", customer_id=None, card=CARD, time=_AT.format(6), event_id="again", **ABOUT)),
    ]
    yield [
        command("credit", "c1", customer_id=KIM, points=300, **said),
        command("credit", "c2", account_id="shared-1", acting_customer_id=KIM, points=5, **said),
        command("debit", "c3", customer_id=KIM, points=20, **said),
        command("redeem", "c4", customer_id=KIM, points=30, order_id="k2", **said),
        command("adjust", "c5", customer_id=KIM, points=-5, **said),
        command("debit", "c6", customer_id=KIM, points=1_000_000, **said),
        {**command("credit", "c7", points=7), "data": {"email": EMAIL, "points": 7, **said}},
        command("transfer", "c8", customer_id=KIM, to_customer_id=PAT, points=11, **said),
        command("transfer", "c9", customer_id=PAT, to_customer_id=KIM, points=12, reason="Pat's own words"),
        command("reverse", "c10", customer_id=KIM) | {"data": {"command_id": "c3", **said}},
        command("authorize", "h1", customer_id=KIM, points=40, **said),
        command("reward.issue", "h2", customer_id=KIM, reward_id="mug", **said),
    ]


def _all_else() -> list[dict[str, Any]]:
    said = {"reason": WORDS}
    return [
        command("capture", "h3") | {"data": {"authorization_id": "h1", "points": 15, **said}},
        command("reward.delete", "h4") | {"data": {"issue_id": "h2", **said}},
        command("account.merge", "m1", customer_id=ANN, into_customer_id=KIM, **said),
        command("account.freeze", "m2", customer_id=KIM, **said),
        command("account.unfreeze", "m3", customer_id=KIM, **said),
        command("credit", "m4", customer_id=KIM, program_id="money", points=9, **said),
        marked(order("m5", "8.00", customer_id=KIM, source="/shops/money")),
        refund("waits", "never-came", net="1.00"),
        marked(order("k1", "999.00", customer_id=KIM, event_id="conflict", time=_AT.format(1))),
        marked(order("bad", customer_id=KIM, lines=[{"line_id": "1"}])),
        marked(order("no-program", customer_id=KIM, program_id="nowhere")),
        marked(refund("bad", "k1", currency="USD", net="1.00")),
        marked(reversion("unknown", "k1")),
        command("credit", "bad-command", customer_id=KIM, points="many", **said),
    ]


def take(shell: Shell, batch: list[dict[str, Any]]) -> None:
    """Receive and post, facts from shops and commands from those who may send them."""
    limits, shell.limits = shell.limits, TRUSTED
    shell.take(*batch)
    shell.limits = limits


def live(shell: Shell) -> list[dict[str, Any]]:
    """Let all of it happen; returns what came."""
    shell.apply_program(MONEY)
    sent = []
    for batch in history():
        take(shell, batch)
        sent += batch
    return sent


def erase(shell: Shell, command_id: str = "e1", customer_id: str = KIM, **data: Any) -> dict[str, Any]:
    """Erase the customer; returns the command."""
    event = command("customer.erase", command_id, customer_id=customer_id, reason=WORDS, **data)
    take_by_operator(shell, event)
    return event


def dump(shell: Shell) -> dict[str, str]:
    """Every column of every table as text; bytes as the text that they are, as far as they are one."""
    found = {}
    with shell.engine.connect() as connection:
        for table in metadata.sorted_tables:
            for column in table.columns:
                shown = f"encode({column.name}, 'escape')" if str(column.type) == "BLOB" else f"{column.name}::text"
                rows = connection.execute(text(f"SELECT {shown} FROM {table.name} WHERE {column.name} IS NOT NULL"))
                found[f"{table.name}.{column.name}"] = "\n".join(sorted(str(row[0]) for row in rows))
    return found


def marks_left(shell: Shell, marks: tuple[str, ...] = MARKS) -> dict[str, list[str]]:
    """By column, which marks stand there."""
    found = {name: [mark for mark in marks if mark in content] for name, content in dump(shell).items()}
    return {name: marks for name, marks in found.items() if marks}


KEY = b"k" * 32


def shell_with_key(engine: Engine, shards: int = 4) -> Shell:
    shell = Shell(engine, shards=shards, program_text=PROGRAM_TEXT + REWARDS)
    shell.poster = Poster(
        engine, event_source=EVENT_SOURCE, new_account_id=uuid7, chain_key=KEY, reference_salt=SALT.encode()
    )
    return shell


def problems(shell: Shell) -> list[str]:
    """What `loyalty verify` says, with the key, and `loyalty rebuild`."""
    with shell.engine.begin() as connection:
        broken = [each.text for step in walk_chains(connection, (KEY,)) for each in step.differences]
    return [*shell.differences(), *broken, *map(str, shell.repairs().repairs)]

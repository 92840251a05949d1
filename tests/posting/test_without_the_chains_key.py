"""A process that lacks the key of the books' chain writes nothing that the chain or a seal must cover."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs
from uuid6 import uuid7

from core.errors import ChainKeyMissingError
from core.importing.account_rows import LAYOUT, AccountRows
from core.importing.files import ImportFile
from core.importing.run import Importer
from core.receiving.executing import CommandRequest, Executor
from core.store.programs import load_registry
from tasks.periodic import expire_lots, release_points, void_authorizations
from tasks.purge import purge
from tasks.registry import TASKS_BY_NAME
from tests.factories import PROGRAM_TEXT, SOURCE, command, order, refund
from tests.posting.erased_history import KEY, KIM, PAT, dump, problems, shell_with_key
from tests.shell import EVENT_SOURCE, LIMITS, Shell, take_by_operator
from tests.tasks.runtimes import make_runtime
from workers.celery_app import _bound

EXPIRING = "availability: {policy: after_days, days: 5}\nexpiry: {policy: after_days, days: 30}\n"
NOW = datetime.now(UTC)
SOON, LATER = ((NOW + timedelta(days=days)).isoformat() for days in (10, 90))


@pytest.fixture
def shell(engine: Engine) -> Shell:
    """Books with a chain, in which points are to be released, to expire, and to come back."""
    shell = shell_with_key(engine, shards=1)
    shell.apply_program(PROGRAM_TEXT + EXPIRING, "2020-01-01T00:00:00Z")
    shell.take(order("o1", time=NOW.isoformat()))
    given = command("credit", "g1", customer_id="c2", points=100)
    take_by_operator(shell, given, command("authorize", "a1", customer_id="c2", points=10, expires_at=SOON))
    return shell


def executor(shell: Shell, key: bytes | None) -> Executor:
    return Executor(
        shell.engine, event_source=EVENT_SOURCE, shards=1, limits=LIMITS, new_id=uuid7, chain_key=key
    )  # fmt: skip


def do_command(shell: Shell, key: bytes | None) -> None:
    executor(shell, key).execute(CommandRequest("credit", {"customer_id": "c1", "points": 5}, "x1", SOURCE))


def import_accounts(shell: Shell, key: bytes | None) -> None:
    importer = Importer(
        shell.engine, source="/import/crm", by="ann", event_source=EVENT_SOURCE, shards=1, limits=LIMITS, new_id=uuid7,
        chain_key=key,
    )  # fmt: skip
    with shell.engine.begin() as connection:
        registry = load_registry(connection)
    rows = AccountRows("crm", registry, datetime.now(UTC), by="ann", program_id=None)
    source = ImportFile(io.BytesIO(b"customer_id,account_id,points\nC-1,crm-1,7\n"), "crm.csv", LAYOUT)
    list(importer.run(rows.plans(source.records(), is_csv=True)))


WRITERS: dict[str, Callable[[Shell, bytes | None], object]] = {
    "a command in process": do_command,
    "an import": import_accounts,
    "releasing": lambda shell, key: release_points(make_runtime(shell.engine, chain_key=key), SOON),
    "expiring": lambda shell, key: expire_lots(make_runtime(shell.engine, chain_key=key), LATER),
    "voiding": lambda shell, key: void_authorizations(make_runtime(shell.engine, chain_key=key), LATER),
    "purging": lambda shell, key: purge(make_runtime(shell.engine, inbox_retention_days=1e-9, chain_key=key)),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_who_lacks_it_changes_nothing_and_who_has_it_goes_on(shell: Shell, writer: str) -> None:
    before = dump(shell)
    with pytest.raises(ChainKeyMissingError, match="Set LOYALTY_CHAIN_KEY"):
        WRITERS[writer](shell, None)
    assert dump(shell) == before
    WRITERS[writer](shell, KEY)
    assert dump(shell) != before
    shell.post()
    assert problems(shell) == []


def test_a_worker_that_lacks_it_leaves_messages_as_they_came_and_its_log_says_why(shell: Shell) -> None:
    shell.receive(order("o2"), order("o3", customer_id="c3"))
    before, runtime = dump(shell), make_runtime(shell.engine)
    post = _bound(TASKS_BY_NAME["loyalty.post_inbox"], lambda: runtime)
    with capture_logs() as logs:
        assert post(0) is None
    assert [(line["action"], line["error"]) for line in logs] == [("task_interrupted", "ChainKeyMissingError")]
    assert "LOYALTY_CHAIN_KEY" in logs[0]["detail"]
    assert dump(shell) == before
    assert shell.post() == {"posted": 2}
    assert problems(shell) == []


def test_a_worker_that_began_before_the_chain_did_notices_it(engine: Engine) -> None:
    old, new = Shell(engine, shards=1), shell_with_key(engine, shards=1)
    assert old.take(order("o1")) == {"posted": 1}
    assert new.take(order("o2")) == {"posted": 1}
    with pytest.raises(ChainKeyMissingError):
        old.take(order("o3"))
    assert new.post() == {"posted": 1}
    assert problems(new) == []


def test_it_is_missed_too_where_everybody_with_a_salt_is_erased(engine: Engine) -> None:
    shell = shell_with_key(engine, shards=1)
    shell.take(order("o1", customer_id=KIM), refund("r1", "o1", full=True))
    take_by_operator(shell, command("customer.erase", "e1", customer_id=KIM))
    assert shell.value("SELECT count(*) FROM account_salts") == 0
    with pytest.raises(ChainKeyMissingError):
        Shell(engine, shards=1, program_text=None).take(order("o2", customer_id=PAT))


def test_what_needs_neither_hash_nor_seal_goes_on_without_it(shell: Shell) -> None:
    for task in (expire_lots, release_points, void_authorizations):
        assert task(make_runtime(shell.engine))["accounts"] == 0
    assert purge(make_runtime(shell.engine))["inbox_rows"] == 0

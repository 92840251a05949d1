"""A few fault runs in the ordinary suite; `make chaos` makes as many as wanted."""

import os
from collections.abc import Iterator

import pytest

from tests.faults.faults import FAULTS
from tests.faults.rabbit_node import RabbitMissingError
from tests.faults.session import Session

MESSAGES = 150
BY_NAME = {fault.name: fault for fault in FAULTS}


@pytest.fixture(scope="module", params=["valkey", "rabbitmq"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """One world per broker: it takes seconds to start, and each run has its own customers and orders."""
    folder = tmp_path_factory.mktemp("faults") / "world"
    try:
        with Session(folder, request.param) as started:
            yield started
    except RabbitMissingError as error:
        if os.environ.get("LOYALTY_TEST_REQUIRE_RABBITMQ"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "names",
    [("intake-killed", "worker-child-killed", "database-sessions-ended"), ("broker-killed", "database-killed")],
    ids=" and ".join,
)
def test_nothing_is_lost_or_done_twice_whatever_dies(session: Session, names: tuple[str, ...]) -> None:
    faults = [BY_NAME[name] for name in names]
    # How long it takes is for `make chaos` to judge, on a machine that does nothing else.
    result = session.run(len(names), faults, MESSAGES, sell_seconds=2, recovery_seconds_max=90)
    assert result.differences == []

"""What intake asks of the database before it reads a message, and for how long it takes it for known."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from core.receiving.receive import receive_in_parts
from core.store import erasures
from core.store.erasures import RecentIntakeState, intake_state_alone
from tests.factories import as_bytes, command, order
from tests.posting.erased_history import KIM, PAT, marked, marks_left, shell_with_key
from tests.shell import EVENT_SOURCE, LIMITS, SALT, Shell, take_by_operator


class Clocks:
    """The process's clocks, which the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.awake_seconds, self.wall_seconds = 50.0, 1_000.0
        monkeypatch.setattr(erasures, "monotonic", lambda: self.awake_seconds)
        monkeypatch.setattr(erasures, "time", lambda: self.wall_seconds)

    def go_on(self, awake_seconds: float, asleep_seconds: float = 0.0) -> None:
        self.awake_seconds += awake_seconds
        self.wall_seconds += awake_seconds + asleep_seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def test_the_clock_goes_on_without_the_database(engine: Engine, clocks: Clocks) -> None:
    recent = RecentIntakeState(engine)
    asked = recent()
    clocks.go_on(4)
    assert recent() == asked._replace(now=asked.now + timedelta(seconds=4))


@pytest.mark.parametrize(
    ("awake_seconds", "asleep_seconds"), [(11, 0), (1, 3600), (1, -3600)], ids=["long ago", "slept", "clock set back"]
)
def test_the_database_is_asked_again(
    engine: Engine, clocks: Clocks, awake_seconds: float, asleep_seconds: float
) -> None:
    recent = RecentIntakeState(engine)
    before = recent().now
    clocks.go_on(awake_seconds, asleep_seconds)
    assert before < recent().now <= intake_state_alone(engine).now


def test_who_was_erased_since_it_was_asked_is_not_brought_back(engine: Engine) -> None:
    shell = shell_with_key(engine)
    shell.take(order("k1", customer_id=KIM), order("p1", customer_id=PAT))
    recent = RecentIntakeState(engine)
    before = recent().erasures
    assert take_by_operator(shell, command("customer.erase", "e1", customer_id=KIM)) == {"posted": 1}
    assert recent().erasures == before, "it is not asked yet"
    late = [marked(order("k2", customer_id=KIM)), order("p2", customer_id=PAT)]
    receive(shell, recent, *late)
    shell.post()
    assert recent().erasures == before + 1
    assert set(marks_left(shell, (KIM, "Kim Miller"))) == set()
    assert shell.value("SELECT count(*) FROM accounts WHERE customer_id = :customer_id", customer_id=KIM) == 0
    assert shell.value("SELECT count(*) FROM orders WHERE order_id = 'p2'") == 1


def receive(shell: Shell, recent: RecentIntakeState, *messages: object) -> None:
    limits = LIMITS._replace(reference_salt=SALT.encode())
    raw = [as_bytes(message) for message in messages]
    list(receive_in_parts(shell.engine, raw, limits=limits, shards=4, event_source=EVENT_SOURCE, recent=recent))

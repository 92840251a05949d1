"""Reserved points that clawbacks take, where the program says `takes_reserved`: before, message, posted, after."""

from typing import Any

import pytest
from sqlalchemy import Engine

from core.store.proof.verify import run_checks
from tests.factories import PROGRAM_TEXT, cancellation, command, goods_back, order, refund, reversion
from tests.posting.test_authorizations import authorize, buckets, capture, holding, left, void
from tests.posting.test_posted_commands import LATER, TRUSTED, answer
from tests.shell import Shell, tampered

TAKES = "clawback: {takes_reserved: true}\n"
CLAMPS = "clawback: {takes_reserved: true, policy: clamp}\n"


def shell_with(engine: Engine, extra: str = TAKES) -> Shell:
    """An account with 100 points of order o1."""
    shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + extra)
    shell.take(order())
    return shell


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return shell_with(engine)


def entries(shell: Shell, count: int) -> list[tuple[Any, ...]]:
    """The last entries: kind, points, reserved_change, and which lots they moved."""
    rows = shell.rows(
        "SELECT kind, points, reserved_change, (SELECT json_agg(json_build_array(lot_number, n.points) ORDER BY"
        " lot_number) FROM allocations n WHERE n.sequence = e.sequence) FROM entries e ORDER BY sequence DESC"
        f" LIMIT {count}"
    )
    return [tuple(row) for row in reversed(rows)]


def is_sound(shell: Shell) -> bool:
    """Whether nothing differs, and what is kept up is what the entries give."""
    return (shell.differences(), shell.repairs().repairs) == ([], [])


class TestARefund:
    def test_takes_what_an_authorization_holds_where_nothing_else_is_left(self, shell: Shell) -> None:
        shell.take(authorize(points=80))
        shell.take(refund(lines=[{"line_id": "1", "net": "50.00"}]))
        assert entries(shell, 2) == [("void", 30, -30, [[1, 30]]), ("clawback", -50, 0, [[1, -50]])]
        assert (buckets(shell), left(shell), holding(shell)) == ((0, 50), [0], (80, 0, 30, "open"))
        assert is_sound(shell)

    @pytest.mark.parametrize("extra", ["", "clawback: {takes_reserved: true, policy: pending_only}\n"])
    def test_leaves_it_alone_without_takes_reserved_or_where_only_pending_points_are_taken(
        self, engine: Engine, extra: str
    ) -> None:
        shell = shell_with(engine, extra)
        shell.take(authorize(points=80), refund())
        assert (buckets(shell)[1], holding(shell)) == (80, (80, 0, 0, "open"))
        assert is_sound(shell)

    def test_takes_other_points_first(self, shell: Shell) -> None:
        shell.take(authorize(points=100), command("credit", "g1", points=70))
        shell.take(refund())
        assert (buckets(shell), holding(shell)) == ((0, 70), (100, 0, 30, "open"))
        assert is_sound(shell)

    def test_leaves_a_deficit_only_of_what_is_captured(self, shell: Shell) -> None:
        shell.take(authorize(), authorize("k2", points=90), capture("k3", points=60, is_final=False))
        shell.take(refund())
        assert (buckets(shell), holding(shell)) == ((-60, 0), (90, 60, 30, "clawed_back"))
        assert is_sound(shell)

    def test_that_clamps_records_a_shortfall_only_of_what_is_captured(self, engine: Engine) -> None:
        shell = shell_with(engine, CLAMPS)
        shell.take(authorize("k2", points=90), capture("k3", points=60, is_final=False))
        shell.take(refund())
        assert (buckets(shell), shell.value("SELECT points_shortfall FROM refunds")) == ((0, 0), 60)
        assert is_sound(shell)

    def test_takes_points_of_its_order_first_whichever_authorization_holds_them(self, shell: Shell) -> None:
        shell.take(
            command("credit", "g1", points=50, expires_at="2031-01-01T00:00:00Z"),
            authorize("k1", points=90, expires_in_seconds=3600),  # 50 of the credit, 40 of the order
            authorize("k2", points=60, authorization_id="a2"),  # 60 of the order
            command("credit", "g2", points=40),
            authorize("k3", points=40, authorization_id="a3", expires_in_seconds=90 * 86_400),
        )
        shell.take(refund(lines=[{"line_id": "1", "net": "80.00"}]))
        given = [holding(shell, name)[2:] for name in ("a1", "a2", "a3")]
        assert given == [(20, "open"), (60, "clawed_back"), (0, "open")]
        assert is_sound(shell)
        shell.take(void("k4"))
        assert (left(shell), buckets(shell)) == ([20, 50, 0], (70, 40))
        assert is_sound(shell)

    def test_takes_from_the_last_deadline_first_but_before_from_one_that_has_passed(self, shell: Shell) -> None:
        shell.take(command("credit", "g1", points=100))
        shell.take(
            authorize("k0", points=100, authorization_id="own"),
            *(
                authorize(f"k{n}", points=20, authorization_id=name, expires_in_seconds=hours * 3600)
                for n, (name, hours) in enumerate({"passed": 1, "soon": 2, "late": 50, "later": 100}.items(), 1)
            ),
        )
        shell.take(capture("k5", authorization_id="own"))
        shell.execute("UPDATE authorizations SET expires_at = now() WHERE authorization_id = 'passed'")
        shell.take(refund(lines=[{"line_id": "1", "net": "55.00"}]))
        names = ("passed", "soon", "late", "later")
        assert [holding(shell, name)[2] for name in names] == [20, 0, 0, 15]

    def test_says_in_its_events_what_came_back_and_what_was_taken(self, shell: Shell) -> None:
        shell.take(authorize(points=100), refund())
        back, taken = (event["data"] for event in shell.events("loyalty.balance.changed")[-2:])
        assert (back["kind"], back["reason"], back["reserved_change"]) == ("void", "authorization_clawed_back", -100)
        assert (back["order_id"], back["refund_id"], back["reserved"], back["balance"]) == ("o1", "r1", 0, 100)
        assert (taken["kind"], taken["points"], taken["balance"]) == ("clawback", -100, 0)

    def test_that_did_not_happen_after_all_lets_the_points_come_back_to_their_lots(self, shell: Shell) -> None:
        shell.take(command("credit", "g1", points=30, expires_at=LATER), authorize(points=130))
        shell.take(refund())
        assert holding(shell) == (130, 0, 100, "open")
        shell.take(reversion())
        assert (left(shell), buckets(shell)) == ([100, 0], (100, 30))
        assert is_sound(shell)

    def test_takes_what_was_reserved_in_time_of_a_lot_that_has_ended(self, shell: Shell) -> None:
        shell.take(command("credit", "g1", points=30, expires_at=LATER), authorize(points=130))
        shell.execute("UPDATE lots SET expires_at = now() WHERE lot_number = 2")
        shell.take(cancellation(), goods_back(lines=[{"line_id": "1", "quantity": 1, "amount": "30.00"}]))
        assert (buckets(shell), left(shell), holding(shell)) == ((0, 0), [0, 0], (130, 0, 130, "clawed_back"))
        assert not [text for text in shell.differences() if "had expired" in text]


@pytest.mark.parametrize(
    "change",
    [
        *(f"UPDATE authorizations SET state = '{state}'" for state in ("voided", "expired", "captured")),
        "UPDATE authorizations SET points_returned = points_returned - 1, points_captured = points_captured + 1",
        "UPDATE authorizations SET state = 'open', points_returned = points_returned - 1",
    ],
)
def test_what_a_clawback_has_made_of_an_authorization_is_proven(shell: Shell, change: str) -> None:
    shell.take(authorize(points=100), refund())
    assert holding(shell) == (100, 0, 100, "clawed_back")
    with tampered(shell, change) as connection:
        found = [each.name for step in run_checks(connection) if step.is_done for each in step.found]
    assert "an authorization's points are those of its entries" in found


class TestOtherReports:
    def test_a_return_and_a_cancellation_take_it_as_a_refund_does(self, shell: Shell) -> None:
        shell.take(authorize(points=100))
        shell.take(goods_back(lines=[{"line_id": "1", "quantity": 1, "amount": "30.00"}]))
        assert (buckets(shell), holding(shell)) == ((0, 70), (100, 0, 30, "open"))
        assert shell.value("SELECT return_id FROM entries WHERE kind = 'void'") is not None
        shell.take(cancellation())
        assert (buckets(shell), holding(shell)) == ((-30, 0), (100, 0, 100, "clawed_back"))
        assert is_sound(shell)


class TestAfterwards:
    def test_a_capture_finds_less_and_says_so(self, shell: Shell) -> None:
        shell.take(authorize(points=100), refund(lines=[{"line_id": "1", "net": "40.00"}]))
        shell.take(capture("k2", points=70), capture("k3"))
        assert answer(shell, "k2")["code"] == "over_capture"
        assert "40 were taken back" in answer(shell, "k2")["detail"]
        assert (answer(shell, "k3")["points"], holding(shell)) == (60, (100, 60, 40, "captured"))
        assert is_sound(shell)

    def test_nothing_is_left_to_be_done_with_one_that_is_clawed_back(self, shell: Shell) -> None:
        shell.take(authorize(points=100), refund())
        shell.take(capture("k2"), void("k3"))
        assert [answer(shell, name)["code"] for name in ("k2", "k3")] == ["authorization_closed"] * 2
        assert "clawed back" in answer(shell, "k2")["detail"]
        assert is_sound(shell)

    def test_the_rest_comes_back_at_the_deadline(self, shell: Shell) -> None:
        shell.take(authorize(points=100), refund(lines=[{"line_id": "1", "net": "40.00"}]))
        shell.void("2090-01-01T00:00:00Z")
        assert (buckets(shell), holding(shell)) == ((60, 0), (100, 0, 100, "expired"))
        assert is_sound(shell)

    @pytest.mark.parametrize("is_one_batch", [False, True])
    def test_captures_and_refunds_in_turn(self, shell: Shell, *, is_one_batch: bool) -> None:
        asked = [
            authorize(points=90),
            capture("k2", points=20, is_final=False),
            refund(lines=[{"line_id": "1", "net": "30.00"}]),
            capture("k3", points=10, is_final=False),
            refund("r2", lines=[{"line_id": "1", "net": "20.00"}]),
            void("k4"),
        ]
        for batch in [asked] if is_one_batch else [[each] for each in asked]:
            shell.take(*batch)
        assert (buckets(shell), left(shell), holding(shell)) == ((20, 0), [20], (90, 30, 60, "voided"))
        assert is_sound(shell)

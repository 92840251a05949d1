import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.workers.supervising import IMPORT, SLEEP, Clock, Log, python, role, runs, step_for, step_until, wait_for
from workers.heartbeat import beat_heart
from workers.supervisor import Role, RoleState, Supervisor


@pytest.fixture
def log() -> Log:
    return Log()


Make = Callable[..., Supervisor]


@pytest.fixture
def make(tmp_path: Path, log: Log) -> Iterator[Make]:
    made: list[Supervisor] = []

    def build(*roles: Role, **options: Any) -> Supervisor:
        delays = {"backoff_seconds_min": 0.01, "backoff_seconds_max": 0.02}
        made.append(Supervisor(roles, heartbeat_folder=tmp_path / "hearts", log=log.bound, **(delays | options)))
        return made[-1]

    yield build
    for supervisor in made:
        supervisor.stop()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """For what depends on how long a role has run, which the machine decides as well."""
    clock = Clock()
    monkeypatch.setattr("workers.supervisor.time", clock)
    return clock


def test_every_role_runs_with_its_environment_and_knows_its_heartbeat_file(
    make: Make, tmp_path: Path, log: Log
) -> None:
    code = "pathlib.Path(os.environ['OUT']).write_text(os.environ['LOYALTY_HEARTBEAT_FILE']);" + SLEEP
    roles = [Role(name, python(code), {"OUT": str(tmp_path / name)}, None) for name in ("intake", "beat")]
    supervisor = make(*roles)
    supervisor.start()
    for name in ("intake", "beat"):
        wait_for(lambda name=name: (tmp_path / name).exists() and (tmp_path / name).read_text() != "")  # type: ignore[misc]
        assert (tmp_path / name).read_text() == str(tmp_path / "hearts" / f"{name}.heartbeat")
    assert [line["role"] for line in log.of("role_started")] == ["intake", "beat"]
    assert [status.state for status in supervisor.status().values()] == [RoleState.RUNNING, RoleState.RUNNING]


@pytest.mark.parametrize("code", [0, 3])
def test_a_role_that_exits_is_started_again_whatever_its_exit_code(make: Make, log: Log, code: int) -> None:
    supervisor = make(role("beat", f"sys.exit({code})"))
    supervisor.start()
    step_until(supervisor, lambda: supervisor.status()["beat"].restarts >= 2)
    assert log.of("role_exited")[0]["exit_code"] == code
    assert len(log.of("role_restarting")) >= 2


def test_a_killed_role_is_logged_with_the_signal(make: Make, log: Log) -> None:
    supervisor = make(role("beat", "os.kill(os.getpid(), signal.SIGKILL)"))
    supervisor.start()
    step_until(supervisor, lambda: bool(log.of("role_exited")))
    assert log.of("role_exited")[0]["signal"] == "SIGKILL"


def test_the_delay_doubles_up_to_its_limit_while_a_role_keeps_failing(make: Make, log: Log) -> None:
    supervisor = make(role("beat", "sys.exit(1)"), backoff_seconds_min=0.01, backoff_seconds_max=0.05)
    supervisor.start()
    step_until(supervisor, lambda: len(log.of("role_restarting")) >= 5)
    delays = [line["delay_seconds"] for line in log.of("role_restarting")]
    assert delays[:5] == [0.01, 0.02, 0.04, 0.05, 0.05]


def test_the_delay_starts_over_after_a_healthy_run(make: Make, log: Log, clock: Clock) -> None:
    supervisor = make(role("beat", "sys.exit(1)"), backoff_seconds_max=9, healthy_seconds=60)
    supervisor.start()
    for run, run_seconds in enumerate((0, 59, 60)):
        step_until(supervisor, lambda run=run: supervisor.status()["beat"].restarts == run)  # type: ignore[misc]
        clock.now += run_seconds
        step_until(supervisor, lambda run=run: len(log.of("role_restarting")) == run + 1)  # type: ignore[misc]
        clock.now += 1
    assert [line["delay_seconds"] for line in log.of("role_restarting")] == [0.01, 0.02, 0.01]


def test_a_role_that_waits_for_its_restart_is_not_started_early(make: Make, log: Log) -> None:
    supervisor = make(role("beat", "sys.exit(1)"), backoff_seconds_min=60, backoff_seconds_max=60)
    supervisor.start()
    step_until(supervisor, lambda: bool(log.of("role_restarting")))
    step_for(supervisor, 0.1)
    assert supervisor.status()["beat"].state is RoleState.WAITING
    assert supervisor.status()["beat"].pid is None


def test_a_role_without_progress_is_killed_with_its_children_and_started_again(
    make: Make, log: Log, tmp_path: Path, clock: Clock
) -> None:
    code = f"""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open({str(tmp_path / "children")!r}, "a") as file: print(child.pid, file=file)
time.sleep(60)
"""
    children = tmp_path / "children"
    supervisor = make(role("intake", code, stall_seconds=1))
    supervisor.start()
    first = supervisor.status()["intake"].pid
    wait_for(lambda: children.exists() and children.read_text().endswith("\n"))
    clock.now += 1.1
    step_until(supervisor, lambda: bool(log.of("role_restarting")))
    clock.now += 0.1
    step_until(supervisor, lambda: supervisor.status()["intake"].restarts == 1)
    assert supervisor.status()["intake"].pid not in {first, None}
    assert log.of("role_stalled") == [
        {"level": "error", "event": "role_stalled", "role": "intake", "stall_seconds": 1},
    ]
    assert log.of("role_exited")[0]["signal"] == "SIGKILL"
    child = int(children.read_text().split()[0])
    wait_for(lambda: not runs(child))


def test_a_role_that_makes_progress_is_left_alone(make: Make, log: Log, tmp_path: Path, clock: Clock) -> None:
    code = "from workers.heartbeat import beat_heart\nwhile True: beat_heart(); time.sleep(0.02)"
    heart, seen = tmp_path / "hearts" / "intake.heartbeat", 0
    supervisor = make(role("intake", code, stall_seconds=1.5))
    supervisor.start()
    for _ in range(5):
        wait_for(lambda seen=seen: heart.exists() and heart.stat().st_mtime_ns != seen)  # type: ignore[misc]
        seen = heart.stat().st_mtime_ns
        supervisor.step()
        clock.now += 1.4
    assert log.of("role_stalled") == []
    assert supervisor.status()["intake"].restarts == 0


def test_a_role_that_stops_making_progress_is_killed_although_it_once_did(make: Make, log: Log) -> None:
    code = "pathlib.Path(os.environ['LOYALTY_HEARTBEAT_FILE']).touch();" + SLEEP
    supervisor = make(role("intake", code, stall_seconds=0.5))
    supervisor.start()
    step_until(supervisor, lambda: bool(log.of("role_stalled")))


def test_the_heartbeat_of_an_earlier_run_does_not_count(make: Make, tmp_path: Path, log: Log) -> None:
    (tmp_path / "hearts").mkdir()
    old = tmp_path / "hearts" / "intake.heartbeat"
    old.touch()
    os.utime(old, (0, 0))
    supervisor = make(role("intake", SLEEP, stall_seconds=30))
    supervisor.start()
    step_for(supervisor, 0.1)
    assert log.of("role_stalled") == []
    assert not old.exists()


def test_a_command_that_cannot_be_run_is_tried_again_and_does_not_end_the_others(make: Make, log: Log) -> None:
    supervisor = make(Role("intake", ("/no/such/program",), {}, None), role("beat", SLEEP))
    supervisor.start()
    step_until(supervisor, lambda: len(log.of("role_start_failed")) >= 2)
    assert supervisor.status()["beat"].state is RoleState.RUNNING


def test_stopping_asks_the_roles_in_reverse_order_and_lets_them_finish(make: Make, log: Log, tmp_path: Path) -> None:
    code = """
def finish(*_): pathlib.Path(OUT).write_text("finished"); sys.exit(0)
signal.signal(signal.SIGTERM, finish)
pathlib.Path(OUT).touch()
time.sleep(60)
"""
    outs = {name: tmp_path / name for name in ("intake", "worker", "beat")}
    supervisor = make(*(role(name, f"OUT = {str(out)!r}" + code) for name, out in outs.items()))
    supervisor.start()
    wait_for(lambda: all(out.exists() for out in outs.values()))
    supervisor.stop()
    assert [out.read_text() for out in outs.values()] == ["finished"] * 3
    assert {(line["role"], line["exit_code"], line["killed"]) for line in log.of("role_stopped")} == {
        ("intake", 0, False),
        ("worker", 0, False),
        ("beat", 0, False),
    }
    assert {status.state for status in supervisor.status().values()} == {RoleState.STOPPED}
    assert {status.pid for status in supervisor.status().values()} == {None}


STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)
pathlib.Path(os.environ["LOYALTY_HEARTBEAT_FILE"]).touch()
time.sleep(60)
"""


def test_a_role_that_does_not_stop_in_its_time_is_killed_and_the_log_says_so(
    make: Make, log: Log, tmp_path: Path
) -> None:
    supervisor = make(role("worker", STUBBORN, stop_seconds=0.2))
    supervisor.start()
    wait_for((tmp_path / "hearts" / "worker.heartbeat").exists)
    supervisor.stop()
    assert [line["stop_seconds"] for line in log.of("role_killed")] == [0.2]
    assert log.of("role_stopped") == [
        {"level": "info", "event": "role_stopped", "role": "worker", "killed": True, "signal": "SIGKILL"},
    ]


def test_what_a_role_leaves_running_in_its_group_ends_with_it(make: Make, tmp_path: Path) -> None:
    code = f"""
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path({str(tmp_path / "child")!r}).write_text(str(child.pid)); sys.exit(0)
"""
    supervisor = make(role("worker", code), backoff_seconds_min=60)
    supervisor.start()
    step_until(supervisor, lambda: supervisor.status()["worker"].state is RoleState.WAITING)
    wait_for(lambda: not runs(int((tmp_path / "child").read_text())))


def test_stopping_twice_or_before_a_start_does_nothing_and_a_new_start_is_possible(make: Make, log: Log) -> None:
    supervisor = make(role("beat", SLEEP))
    supervisor.stop()
    supervisor.start()
    supervisor.stop()
    supervisor.stop()
    assert len(log.of("role_stopped")) == 1
    supervisor.start()
    assert supervisor.status()["beat"].state is RoleState.RUNNING


def test_a_role_that_waits_for_its_restart_is_not_started_after_a_stop(make: Make, log: Log) -> None:
    supervisor = make(role("beat", "sys.exit(1)"))
    supervisor.start()
    step_until(supervisor, lambda: bool(log.of("role_restarting")))
    supervisor.stop()
    started = len(log.of("role_started"))
    step_for(supervisor, 0.1)
    assert len(log.of("role_started")) == started


def test_output_goes_to_a_file_of_the_role_when_a_log_folder_is_given(make: Make, tmp_path: Path) -> None:
    code = "print('out', flush=True); print('err', file=sys.stderr, flush=True); sys.exit(0)"
    supervisor = make(role("beat", code), log_folder=tmp_path / "logs", backoff_seconds_min=60)
    supervisor.start()
    step_until(supervisor, lambda: supervisor.status()["beat"].state is RoleState.WAITING)
    assert (tmp_path / "logs" / "beat.log").read_text() == "out\nerr\n"


def test_two_roles_of_one_name_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="a name of its own"):
        make(role("beat", SLEEP), role("beat", SLEEP))


RUN = """
import sys
from pathlib import Path
from workers.supervisor import Role, Supervisor
folder, code = Path(sys.argv[1]), sys.argv[2]
roles = [Role(name, (sys.executable, "-c", code), {}, None, stop_seconds=60) for name in ("one", "two")]
Supervisor(roles, heartbeat_folder=folder).run()
print("ended", flush=True)
"""


@pytest.fixture
def supervising(tmp_path: Path) -> Iterator[Callable[[str], tuple["subprocess.Popen[str]", list[int]]]]:
    """Start a process that supervises two roles of that code, which touch their heartbeats when ready."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> tuple["subprocess.Popen[str]", list[int]]:
        command = [sys.executable, "-c", RUN, str(tmp_path), IMPORT + code]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        wait_for(lambda: len(list(tmp_path.glob("*.heartbeat"))) == 2)
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(started[-1].pid)], capture_output=True, check=True)
        return started[-1], [int(pid) for pid in children.stdout.split()]

    yield start
    for process in started:
        process.kill()
        process.communicate()


READY = "pathlib.Path(os.environ['LOYALTY_HEARTBEAT_FILE']).touch()\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_roles_and_then_the_supervisor(supervising: Any, number: signal.Signals) -> None:
    process, children = supervising(READY + SLEEP)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.count("role_stopped") == 2
    assert out.endswith("ended\n")
    assert not any(runs(pid) for pid in children)


def test_a_second_signal_kills_the_roles_at_once(supervising: Any) -> None:
    process, children = supervising(STUBBORN)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    for _ in range(55):  # two that come before the first is looked at are one
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
            break
    out, _ = process.communicate(timeout=20)
    assert out.count("role_killed") == 2
    assert not any(runs(pid) for pid in children)


def test_roles_do_not_outlive_a_killed_supervisor(supervising: Any) -> None:
    process, children = supervising(READY + SLEEP)
    assert len(children) == 2
    process.kill()
    process.wait()
    wait_for(lambda: not any(runs(pid) for pid in children))


def test_running_looks_after_what_else_it_is_given_and_gives_the_signal_handlers_back(make: Make) -> None:
    before = signal.getsignal(signal.SIGTERM)
    supervisor = make(role("beat", SLEEP))
    supervisor.run(each_step=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) is before
    assert supervisor.status()["beat"].state is RoleState.STOPPED


def test_a_heartbeat_without_a_file_does_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LOYALTY_HEARTBEAT_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    beat_heart()
    assert list(tmp_path.iterdir()) == []


def test_a_heartbeat_changes_the_time_of_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "intake.heartbeat"
    monkeypatch.setenv("LOYALTY_HEARTBEAT_FILE", str(file))
    beat_heart()
    os.utime(file, (0, 0))
    beat_heart()
    assert file.stat().st_mtime > 0

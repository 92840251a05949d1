"""What protects the work from being watched, and who is watched from being named. See `table`."""

from tests.protections.protection import Edit, Protection

_COUNTING = "tests/workers/metrics/test_counting.py"
_PORT = "tests/workers/metrics/test_port.py"

OF_MONITORING = (
    Protection(
        "each transaction is counted by itself",
        "nothing is counted that was not committed, and nothing twice",
        (
            Edit(
                "core/posting/batch.py",
                "Tally() if self._tallies else None",
                'self.__dict__.setdefault("_tally", Tally()) if self._tallies else None',
            ),
        ),
        (f"{_COUNTING}::TestPosting",),
    ),
    Protection(
        "events count when they are confirmed and marked",
        "nothing is counted that was not committed, and nothing twice",
        (
            Edit(
                "tasks/relay.py",
                "        if events:\n",
                "        if events:\n            runtime.watcher.relayed(events, 0.0)\n",
            ),
        ),
        (f"{_COUNTING}::TestUpkeepAndRelay",),
    ),
    Protection(
        "a child takes the place of the one before it",
        "no count is lost with a child that is killed, and files do not pile up",
        (Edit("workers/metrics/counting.py", 'getattr(current_process(), "index", 0)', "os.getpid()"),),
        (f"{_COUNTING}::test_who_takes_the_place_of_a_child_that_was_killed_counts_on_and_there_are_no_more_files",),
    ),
    Protection(
        "only what the contracts know is a label",
        "no sender and no customer is named by a metric, or makes new ones",
        (Edit("workers/metrics/counting.py", "return str(value) if value in known else OTHER", "return str(value)"),),
        (f"{_COUNTING}::TestIntake",),
    ),
    Protection(
        "programs are bounded",
        "no sender and no customer is named by a metric, or makes new ones",
        (Edit("workers/metrics/counting.py", "len(self._programs) == PROGRAMS_MAX", "not program_id"),),
        (f"{_COUNTING}::TestBounds",),
    ),
    Protection(
        "the state is read beside the scrapes",
        "no scrape waits for a server, or has one asked",
        (
            Edit(
                "workers/metrics/state.py",
                "        latest = self._latest\n",
                "        latest = _Reading(self._read(), time.monotonic() + 60)\n",
            ),
        ),
        (f"{_PORT}::TestState",),
    ),
    Protection(
        "requests are bounded in number and time",
        "whatever is sent to a port, it goes on answering",
        (
            Edit(
                "workers/metrics/port.py",
                "            if now - since > REQUEST_SECONDS_MAX:\n",
                "            if False:\n",
            ),
        ),
        (f"{_PORT}::TestRequests",),
    ),
)

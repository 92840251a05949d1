"""Two processes find what one does."""

from collections.abc import Iterable, Iterator
from multiprocessing import active_children

import pytest
from sqlalchemy import Engine

from core.errors import SimulationStoppedError
from core.messages.program_files.program_file import parse_program
from core.simulating.beside import compare_recorded
from core.simulating.comparing import sides
from core.simulating.recorded import RecordedMessage
from core.store.programs import load_registry
from tests.factories import PROGRAM_TEXT, order
from tests.shell import Shell
from tests.simulating.test_simulated_books import PROGRAMS, UNTIL, story


def test_two_processes_beside_each_other_find_what_one_finds(engine: Engine) -> None:
    Shell(engine, shards=1, program_text=PROGRAMS["plain"]).take(*story())
    with engine.begin() as connection:
        versions = load_registry(connection).versions()
    both = sides(versions, parse_program(PROGRAMS["rules, promotions and limits"], path="changed.yaml"), None)
    in_two = compare_recorded(engine, "test", both, UNTIL, iter, orders_apart=1)
    in_one = compare_recorded(engine, "test", both, UNTIL, iter)
    assert in_two == in_one
    assert in_two.before != in_two.after


def test_when_the_other_process_is_killed_the_comparison_says_so(engine: Engine) -> None:
    def killing(messages: Iterable[RecordedMessage]) -> Iterator[RecordedMessage]:
        (other,) = active_children()
        other.kill()
        yield from messages

    Shell(engine, shards=1, program_text=PROGRAM_TEXT).take(order())
    with engine.begin() as connection:
        versions = load_registry(connection).versions()
    both = sides(versions, parse_program(PROGRAM_TEXT, path="same.yaml"), None)
    with pytest.raises(SimulationStoppedError, match="was ended from outside"):
        compare_recorded(engine, "test", both, UNTIL, killing, orders_apart=1)

"""Reads program files, and says of a wrong one what is wrong, in which line, and what is allowed there."""

from collections.abc import Iterable
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.domain.program import Program
from core.errors import ProgramFileError
from core.messages.program_files.advice import advise
from core.messages.program_files.differences import describe_differences
from core.messages.program_files.file_problems import ambiguous_problems, currency_problems, empty_problems, worded
from core.messages.yaml_source import PROBLEMS_TOLD_MAX, STDIN, Problem, YamlSource, read_text, told

__all__ = [
    "describe_differences",
    "file_name",
    "load_program",
    "parse_program",
    "program_advice",
    "program_document",
    "program_from_document",
    "program_text",
]


def load_program(path: Path | str) -> Program:
    """Read a program file. ProgramFileError names every problem, one per line."""
    return parse_program(program_text(path), path=file_name(path))


def program_text(path: Path | str) -> str:
    """Read the text of a program file (-: standard input), whatever it says; ProgramFileError if it cannot be read."""
    return read_text(path, error=ProgramFileError, takes_stdin=True).replace("\r\n", "\n").replace("\r", "\n")


def file_name(path: Path | str) -> str:
    """How a message calls a program file."""
    return "standard input" if str(path) == STDIN else str(path)


def parse_program(text: str, *, path: str) -> Program:
    """Read the text of a program file; `path` only names it in errors. ProgramFileError names every problem."""
    source = YamlSource(text, path=path, error=ProgramFileError)
    if not isinstance(source.value, dict):
        problem = "it is not a program: write fields such as program_id, name, currency, earning_rules and tiers"
        raise ProgramFileError(path=path, problems=problem)
    # One more than is told, so that it is seen that there are more.
    problems = [*source.problems[: PROBLEMS_TOLD_MAX + 1], *currency_problems(source)]
    problems += islice(empty_problems(source), PROBLEMS_TOLD_MAX + 1)
    problems += islice(ambiguous_problems(source), PROBLEMS_TOLD_MAX + 1)
    program = None
    try:
        program = Program.model_validate(source.value)
    except ValidationError as error:
        problems += worded(error, source, {problem.path for problem in problems})
    if program is None or problems:
        raise ProgramFileError(path=path, problems=told(problems))
    return program


def program_advice(program: Program, text: str, *, today: date | None = None) -> list[str]:
    """Say what the author of `text`, which `program` was read from, has hardly meant: one line for each.

    With `today`, the day in the program's time zone, also what is over by now.
    """
    source = YamlSource(text, path="", error=ProgramFileError)
    advice = [Problem(0, each.path, each.text) for each in advise(program, today)]
    return _in_order(Problem(_line_of(each, source), each.path, each.text) for each in advice)


def program_document(program: Program) -> dict[str, Any]:
    """Give the program the JSON form in which the database keeps it.

    Defaults are left out, so that a release that does not know a field reads a program that does not use it. So the
    default of a field is for ever.
    """
    return program.model_dump(mode="json", exclude_defaults=True)


def program_from_document(document: dict[str, Any]) -> Program:
    """Read what `program_document` wrote, in this or an earlier release."""
    return Program.model_validate(document)


def _in_order(problems: Iterable[Problem]) -> list[str]:
    return [str(problem) for problem in sorted(problems, key=lambda problem: (problem.line, str(problem)))]


def _line_of(problem: Problem, source: YamlSource) -> int:
    path = problem.path
    while path not in source.places:
        path = path[:-1]
    return source.places[path].line

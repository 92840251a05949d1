"""Reads the file of sources, and the secrets that it names, and says of a wrong one what is wrong and what is allowed.

Secrets stand in files or variables of their own, never in this file. No message shows one, nor anything that may be
one by mistake.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from core.domain.ledger import POINTS_MAX
from core.domain.value.verbs import VERBS_OF_CHOSEN_POINTS, Verb
from core.errors import SourcesFileError
from core.messages.inbound.fields import Id
from core.messages.inbound.near_names import near_match
from core.messages.inbound.shown_values import shown
from core.messages.inbound.sources import (
    KEY_ID_PATTERN,
    SECRET_BYTES_MAX,
    SECRET_BYTES_MIN,
    CommandGrant,
    SourceKey,
    Sources,
)
from core.messages.yaml_source import PROBLEMS_TOLD_MAX, Problem, YamlPath, YamlSource, read_text, told

SOURCES_MAX = 1_000
KEYS_MAX = 10

_ALLOWED = {
    "unlisted": "accept, or park: then only the listed sources may send",
    "sources": f"a list of 1 to {SOURCES_MAX:,} sources",
    "sources[]": "a source: source, keys, commands",
    "source": "the source of the messages, 1 to 200 visible characters, such as /shops/high-street",
    "keys": f"a list of at most {KEYS_MAX} keys",
    "keys[]": "a key: key_id, secret_file or secret_variable, until",
    "key_id": '1 to 64 of the characters A-Z, a-z, 0-9, ".", "_" and "-", in quotes',
    "secret_file": "the path of the file that holds the secret",
    "secret_variable": "the name of the environment variable that holds the secret",
    "until": "a date and time with its offset, without quotes, such as 2026-12-01T00:00:00+00:00",
    "commands": f"a list of at most {len(Verb)} commands",
    "commands[]": "a command: command, points_per_command_max, points_per_day_max",
    "command": f"one of {', '.join(Verb)}",
    "points_per_command_max": f"a whole number from 1 to {POINTS_MAX:,}, written without separators",
    "points_per_day_max": f"a whole number from 1 to {POINTS_MAX:,}, written without separators",
}
_COMMAND_PREFIX = "loyalty.command."
_OWN_PROBLEM = "own"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class KeyEntry(_Part):
    """One key of a source, and where its secret is."""

    key_id: Annotated[str, StringConstraints(pattern=KEY_ID_PATTERN)]
    secret_file: Annotated[str, Field(min_length=1)] | None = None
    secret_variable: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.secret_file is None) == (self.secret_variable is None):
            raise PydanticCustomError(_OWN_PROBLEM, "needs one of secret_file and secret_variable")
        return self


class CommandEntry(_Part):
    """One kind of command that a source may send, and for how many points."""

    command: Annotated[Verb, Field(strict=False)]  # it is a text in the file
    points_per_command_max: Annotated[int, Field(ge=1, le=POINTS_MAX)] | None = None
    points_per_day_max: Annotated[int, Field(ge=1, le=POINTS_MAX)] | None = None

    @model_validator(mode="after")
    def _limits_mean_something(self) -> Self:
        of_command, of_day = self.points_per_command_max, self.points_per_day_max
        if (of_command or of_day) is not None and self.command not in VERBS_OF_CHOSEN_POINTS:
            raise PydanticCustomError(
                _OWN_PROBLEM, f"limits points, and {self.command} chooses none; leave points_per_*_max out"
            )
        if of_command is not None and of_day is not None and of_day < of_command:
            raise PydanticCustomError(
                _OWN_PROBLEM, "allows less on a day than in one command; raise points_per_day_max, or leave one out"
            )
        return self


class SourceEntry(_Part):
    """One source that may send."""

    source: Id
    keys: Annotated[list[KeyEntry], Field(max_length=KEYS_MAX)] = []
    commands: Annotated[list[CommandEntry], Field(max_length=len(Verb))] = []


class SourcesFile(_Part):
    """The whole file."""

    unlisted: Literal["accept", "park"] = "accept"
    sources: Annotated[list[SourceEntry], Field(min_length=1, max_length=SOURCES_MAX)]


_ENTRIES: dict[str, type[BaseModel]] = {"sources": SourceEntry, "keys": KeyEntry, "commands": CommandEntry}


def load_sources(path: Path | str, environment: Mapping[str, str]) -> Sources:
    """Read the file, and the secrets that it names in `environment` and in files beside it.

    SourcesFileError names every problem, one per line.
    """
    file = parse_sources(read_text(path, error=SourcesFileError), path=str(path))
    problems: list[str] = []
    keys = {}
    for place, entry in enumerate(file.sources):
        keys[entry.source] = [
            key
            for number, key_entry in enumerate(entry.keys)
            for key in _loaded(key_entry, f"sources[{place}].keys[{number}]", Path(path), environment, problems)
        ]
    if problems:
        raise SourcesFileError(path=str(path), problems="\n".join(problems))
    commands = {entry.source: {each.command: _grant(each) for each in entry.commands} for entry in file.sources}
    return Sources(keys, parks_unlisted=file.unlisted == "park", commands=commands)


def parse_sources(text: str, *, path: str) -> SourcesFile:
    """Read the text of the file without its secrets; `path` only names it in errors."""
    source = YamlSource(text, path=path, error=SourcesFileError, shows_values=False)
    problems = list(source.problems)
    file = None
    try:
        file = SourcesFile.model_validate(source.value)
    except ValidationError as error:
        reported = {problem.path for problem in problems}
        worded = (problem for problem in _worded(error, source) if problem.path not in reported)
        problems += islice(worded, PROBLEMS_TOLD_MAX + 1)
    if file is not None:
        problems += _repeated(file, source)
    if file is None or problems:
        raise SourcesFileError(path=path, problems=told(problems))
    return file


def secret_variables(path: Path | str) -> frozenset[str]:
    """Name the environment variables that the file takes secrets from; none when it cannot be read."""
    try:
        file = parse_sources(read_text(path, error=SourcesFileError), path=str(path))
    except SourcesFileError:
        return frozenset()
    return frozenset(key.secret_variable for source in file.sources for key in source.keys if key.secret_variable)


def read_secret(path: Path) -> bytes:
    """Read a secret from its file; a line break at its end does not count. ValueError and OSError say what is wrong."""
    with path.open("rb") as file:
        return _checked(file.read(SECRET_BYTES_MAX + 3).removesuffix(b"\n").removesuffix(b"\r"))


def _grant(entry: CommandEntry) -> CommandGrant:
    return CommandGrant(entry.points_per_command_max, entry.points_per_day_max)


def _checked(secret: bytes) -> bytes:
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        found = f"more than {SECRET_BYTES_MAX:,}" if len(secret) > SECRET_BYTES_MAX else str(len(secret))
        raise ValueError(f"has {found} bytes; a secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX:,} random ones")
    return secret


def _loaded(
    entry: KeyEntry, where: str, path: Path, environment: Mapping[str, str], problems: list[str]
) -> Iterator[SourceKey]:
    if entry.secret_file is not None:
        named = f"{where}.secret_file {entry.secret_file}"
    else:
        named = f"{where}.secret_variable {entry.secret_variable}"
    try:
        if entry.secret_file is not None:
            secret = read_secret(path.parent / entry.secret_file)
        elif (value := environment.get(entry.secret_variable or "")) is not None:
            secret = _checked(value.encode(errors="surrogateescape"))
        else:
            raise ValueError("is not set in the environment of this process")  # noqa: TRY301  # reported with the others
    except OSError as error:
        problems.append(f"{named} cannot be read: {error.strerror or type(error).__name__}")
    except ValueError as error:
        problems.append(f"{named} {error}")
    else:
        yield SourceKey(entry.key_id, secret, entry.until)


def _repeated(file: SourcesFile, source: YamlSource) -> Iterator[Problem]:
    seen: set[str] = set()
    for place, entry in enumerate(file.sources):
        path: YamlPath = ("sources", place, "source")
        if entry.source in seen:
            yield Problem(source.places[path].line, path, "is listed before; put all its keys there")
        seen.add(entry.source)
        for number in _repeats([key.key_id for key in entry.keys]):
            path = ("sources", place, "keys", number, "key_id")
            yield Problem(source.places[path].line, path, "names another key of this source too")
        for number in _repeats([each.command for each in entry.commands]):
            path = ("sources", place, "commands", number, "command")
            yield Problem(source.places[path].line, path, "is granted to this source before; write it once")


def _repeats(names: Sequence[str]) -> Iterator[int]:
    first = {name: number for number, name in reversed(list(enumerate(names)))}
    return (number for number, name in enumerate(names) if first[name] < number)


def _worded(error: ValidationError, source: YamlSource) -> Iterator[Problem]:
    for item in error.errors(include_url=False):
        path = item["loc"]
        while path and path not in source.places:
            path = path[:-1]
        line = source.places[path].line if path else 1
        match item["type"]:
            case "extra_forbidden":
                known = list(_fields_at(path).model_fields)
                meant = near_match(str(item["loc"][-1]), known, cutoff=0.6)
                mend = f"did you mean {meant}?" if meant else f"known are {', '.join(known)}"
                yield Problem(line, item["loc"], f"is not a field here; {mend}")
            case "missing":
                yield Problem(line, item["loc"], f"is missing; write {_allowed(item['loc'])}")
            case "enum" if meant := _meant_command(item["input"]):
                yield Problem(line, path, f"is {_found(item['input'], path)}; did you mean {meant}?")
            case "own":
                yield Problem(line, path, str(item["msg"]))
            case _ if not path:
                yield Problem(line, ("the file",), "is not a list of sources: write unlisted and sources")
            case _:
                yield Problem(line, path, f"is {_found(item['input'], path)}; write {_allowed(path)}")


def _fields_at(path: YamlPath) -> type[BaseModel]:
    return next((_ENTRIES[step] for step in reversed(path[:-1]) if isinstance(step, str)), SourcesFile)


def _meant_command(found: Any) -> str | None:
    return near_match(found.removeprefix(_COMMAND_PREFIX), list(Verb)) if isinstance(found, str) else None


def _allowed(path: YamlPath) -> str:
    return _ALLOWED[f"{path[-2]}[]" if isinstance(path[-1], int) else str(path[-1])]


def _found(value: Any, path: YamlPath) -> str:
    match value:
        case None:
            return "empty"
        case str() if path[-1] in {"unlisted", "source", "command"}:
            return f"the text {shown(value)}"
        case str():
            return f"a text of {len(value)} characters"
        case list() | dict():
            return f"a {'list' if isinstance(value, list) else 'group of fields'} of length {len(value):,}"
        case date():
            return "a date, or a time without its offset"
        case _:
            return "a number, or a word that YAML takes for true or false"

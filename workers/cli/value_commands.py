"""`loyalty points` and other commands that a person gives: done at once, each shows what it did."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import Parameter, Signature, cleandoc
from types import UnionType
from typing import Annotated, Any, NotRequired, Union, get_args, get_origin

import typer
from typing_extensions import get_type_hints

from core.domain.value.verbs import Verb
from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.fields import NAMING
from workers.cli.command_spellings import INTO, NEGATED, OPTIONS, PARTIES, SHORTER, SPELLINGS, TO, WHOM, Spelling
from workers.cli.output import AsJson

#: How an account is named that is an argument: what stands for it, its help, and the option for the kind of its name.
_PARTIES = {
    WHOM: ("CUSTOMER", "The shop's own id of the customer; with --named-by another name of the account.", "named_by"),
    INTO: ("INTO", "The customer whose account survives; with --into-named-by another name of it.", "into_named_by"),
    TO: ("TO", "The customer who gets them; with --to-named-by another name of the account.", "to_named_by"),
}

#: What stands beside the fields of every command.
_COMMON = {
    "own_id": Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Names the command for ever; else one is drawn.")
    ],
    "is_dry_run": Annotated[bool, typer.Option("--dry-run", help="Say what it would do; nothing is changed.")],
    "as_json": AsJson,
}
_DEFAULTS = {"own_id": None, "is_dry_run": False, "as_json": False}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    points = typer.Typer(no_args_is_help=True)
    add_spellings(points, "points")
    app.add_typer(points, name="points", help="Give points, take them, and correct them.")


def add_spellings(group: typer.Typer, name: str) -> None:
    """Add the commands of the table that begin with this word."""
    for spelling in SPELLINGS:
        first, _, second = spelling.words.partition(" ")
        if first == name:
            # Or a number below zero would be taken for an option.
            context = {"ignore_unknown_options": spelling.verb is Verb.ADJUST}
            group.command(second, context_settings=context)(_command(spelling))


def fields_of(spelling: Spelling) -> Mapping[str, Any]:
    """The fields of the data of a command, with the type of each."""
    model = INBOUND[COMMAND_PREFIX + spelling.verb].model
    data = _bare(get_type_hints(model, include_extras=True)["data"])
    return {name: _bare(hint) for name, hint in get_type_hints(data, include_extras=True).items()}


def naming_fields(party: str, fields: Iterable[str]) -> dict[str, str]:
    """The fields that name an account, of which one is given, by what a person calls them, such as customer."""
    found = {name.removesuffix("_id"): PARTIES[party] + name for name in NAMING}
    return {kind: field for kind, field in found.items() if field in set(fields)}


def _bare(hint: Any) -> Any:
    """A type without what is said besides of it, and without null."""
    while get_origin(hint) in {Annotated, NotRequired}:
        hint = get_args(hint)[0]
    if get_origin(hint) in {Union, UnionType}:
        (hint,) = (part for part in get_args(hint) if part is not type(None))
        return _bare(hint)
    return hint


def _parameters(spelling: Spelling) -> Iterator[Parameter]:
    """The arguments and options of a command: those of its fields, and those that all have."""
    fields, options = dict(fields_of(spelling)), {**OPTIONS, **spelling.options}
    named_by: list[Parameter] = []
    for name in spelling.arguments:
        if name in _PARTIES:
            metavar, help_, option_name = _PARTIES[name]
            kinds = naming_fields(name, fields.keys() - {*spelling.arguments, *spelling.options})
            for field in kinds.values():
                del fields[field]
            yield _argument(name, str, metavar, help_)
            kinds_help = f"What {metavar} is: {' or '.join(kinds)}."
            spelt = f"--{option_name.replace('_', '-')}"
            kind_typed = Annotated[str, typer.Option(spelt, metavar="KIND", help=kinds_help)]
            named_by.append(_option(option_name, kind_typed, next(iter(kinds))))
        else:
            option = options[name]
            yield _argument(name, _typed(fields.pop(name)), option.metavar, option.help)
    for name, kind in fields.items():
        option, is_switch = options[name], kind is bool
        spelt = f"--{NEGATED.get(name, SHORTER.get(name, name)).replace('_', '-')}"
        hint: Any = bool if is_switch else _typed(kind) | None
        typed: Any = Annotated[hint, typer.Option(spelt, metavar=option.metavar, help=option.help)]
        yield _option(name, typed, False if is_switch else None)
    yield from named_by
    for name, common in _COMMON.items():
        yield _option(name, common, _DEFAULTS[name])


def _option(name: str, typed: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=typed)


def _argument(name: str, kind: Any, metavar: str | None, help_: str) -> Parameter:
    typed = Annotated[kind, typer.Argument(metavar=metavar, help=help_)]
    return Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, annotation=typed)


def _typed(kind: Any) -> Any:
    # Whatever a text must be, an instant for example, the contract says so.
    return int if kind is int else list[str] if get_origin(kind) in {list, dict} else str


def _command(spelling: Spelling) -> Callable[..., None]:
    """The function that typer makes a command of."""
    parameters, fields = list(_parameters(spelling)), fields_of(spelling)

    def run(**given: Any) -> None:
        options = {name: given.pop(name) for name in _COMMON}
        # What does a command takes longer to import than what most commands of these groups, which read, take in all.
        from workers.cli.doing import do  # noqa: PLC0415

        do(spelling, _data(given, fields), has_program="program_id" in fields, **options)

    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__doc__ = cleandoc(spelling.help)
    return run


def _data(given: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a command, of what was typed."""
    data: dict[str, Any] = {}
    for party, (_, _, option_name) in _PARTIES.items():
        if party in given:
            kind, kinds = given.pop(option_name), naming_fields(party, fields.keys() - given.keys())
            if kind not in kinds:
                spelt = f"--{option_name.replace('_', '-')}"
                raise typer.BadParameter(f"{kind} is none of {', '.join(kinds)}", param_hint=spelt)
            data[kinds[kind]] = given.pop(party)
    for name, value in given.items():
        if value is None or value is False or value == []:
            continue
        data[name] = _pairs(name, value) if get_origin(fields[name]) is dict else value
        if name == "members":
            data[name] = _members(value)
        if name in NEGATED:
            data[name] = False
    return data


def _members(texts: Sequence[str]) -> list[dict[str, str]]:
    """What CUSTOMER=ROLE stands for, each; none: nobody."""
    given = {} if list(texts) == ["none"] else _pairs("member", texts)
    return [{"customer_id": customer_id, "role": role} for customer_id, role in given.items()]


def _pairs(name: str, texts: Sequence[str]) -> dict[str, str]:
    """What NAME=VALUE stands for, each."""
    pairs = [text.partition("=") for text in texts]
    for text, (_, sign, _) in zip(texts, pairs, strict=True):
        if not sign:
            raise typer.BadParameter(f"{text} is not NAME=VALUE", param_hint=f"--{name}")
    return {key: value for key, _, value in pairs}

"""`loyalty db`: the tables of the database, and who may do what to them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from sqlalchemy import Connection, Engine

from config.settings import Settings
from core.store.grants import grant_role, grant_views, may_erase, require_role
from core.store.migrate import TablesState, current_revision, pending_migrations, tables_state, upgrade
from workers.cli.command_errors import CheckGrantsNothingError, NoRoleNamedError, WhichGrantError
from workers.cli.output import AsJson, Row, note, print_json, print_listing, say
from workers.cli.wiring import opened_database

Role = Annotated[
    str, typer.Argument(help="The database role that the worker, or who reads, connects as; it must exist.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.command("upgrade")(upgrade_database)
    group.command()(current)
    group.command()(grant)
    app.add_typer(group, name="db", help="The tables of the database: bring them up to date, see where they are.")


def upgrade_database(
    grant_to: Annotated[
        list[str] | None,
        typer.Option("--grant", metavar="ROLE", help="Then do `loyalty db grant` for this role; may be given again."),
    ] = None,
    grant_erasing_to: Annotated[
        list[str] | None,
        typer.Option("--grant-erasing", metavar="ROLE", help="Then do `loyalty db grant --may-erase` for it."),
    ] = None,
    grant_read_to: Annotated[
        list[str] | None,
        typer.Option("--grant-read", metavar="ROLE", help="Then do `loyalty db grant --views` for it; again for more."),
    ] = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; only say what would be done.")] = False,
) -> None:
    """Bring the database to the tables of this release. On an up-to-date database it does nothing.

    \b
    loyalty db upgrade --check
    loyalty db upgrade
    loyalty db upgrade --grant loyalty_worker --grant-read tableau

    Roles of the release before may go on meanwhile. Connect as the owner of the tables. With --check any role that may
    read will do: exit code 1 when the tables are older than this release wants them, or newer.
    """
    roles = {**dict.fromkeys(grant_to or [], False), **dict.fromkeys(grant_erasing_to or [], True)}
    tools = grant_read_to or []
    if check:
        if roles or tools:
            raise CheckGrantsNothingError
        _check()
        return
    _check_named([*roles, *tools])
    with opened_database(Settings(), must_be_current=False) as engine:
        with engine.begin() as connection:
            for role in (*roles, *tools):
                require_role(connection, role)
        before = current_revision(engine)
        upgrade(engine)
        after = current_revision(engine)
        if before == after:
            say(f"Nothing to do: the database is at {after}.")
        else:
            say(f"Upgraded the database from {before or 'empty'} to {after}.")
        _grant_all(engine, roles, tools)


def _check_named(roles: Iterable[str]) -> None:
    """NoRoleNamedError for a name that a script has left empty: no role could be made for it."""
    if not all(roles):
        raise NoRoleNamedError


def _grant_all(engine: Engine, roles: Mapping[str, bool], tools: Sequence[str]) -> None:
    """Give roles what workers need, with what it takes to erase customers or without, and tools the views."""
    with _telling_lost_rights(engine, [*roles, *tools], "--grant-erasing") as connection:
        for role, erases in roles.items():
            grant_role(connection, role, read_only=False, erases=erases)
        for tool in tools:
            grant_views(connection, tool)
    for role, erases in roles.items():
        say(f"{role} has what the worker needs{', also to erase customers' if erases else ''}, and nothing else.")
    for tool in tools:
        say(f"{tool} may read the views for reporting tools, and nothing else.")


@contextmanager
def _telling_lost_rights(engine: Engine, roles: Sequence[str], option: str) -> Iterator[Connection]:
    """Give a transaction for grants; after its commit say which roles have lost the right to erase customers.

    A grant first takes everything away. Without this line, whoever leaves out the option for erasing would notice only
    when a customer could not be erased. `option` is the one that gives the right back.
    """
    with engine.begin() as connection:
        for role in roles:
            require_role(connection, role)
        erased = [role for role in roles if may_erase(connection, role)]
        yield connection
        lost = [role for role in erased if not may_erase(connection, role)]
    for role in lost:
        note(f"{role} may no longer erase customers: give it that by {option}")


def _check() -> None:
    """Say what an upgrade would do; exit code 1 unless the tables are those of this release."""
    with opened_database(Settings(), must_be_current=False) as engine:
        state = tables_state(engine)
    if state.found == state.wanted:
        say(f"Nothing to do: the database is at {state.found}.")
        return
    if state.is_newer:
        say(f"An upgrade would do nothing. {_state_text(state)}")
    else:
        say(f"An upgrade would bring the database from {state.found or 'empty'} to {state.wanted}:")
        for migration in pending_migrations(state.found):
            say(f"  {migration.revision}  {migration.summary}")
    raise typer.Exit(1)


def current(*, as_json: AsJson = False) -> None:
    """Show which tables the database has and which this release wants; exit code 1 when it cannot work on them.

    \b
    loyalty db current
    """
    with opened_database(Settings(), must_be_current=False) as engine:
        state = tables_state(engine)
    if as_json:
        print_json(
            {
                "current": state.found,
                "head": state.wanted,
                "oldest_supported": state.oldest_revision,
                "is_current": state.found == state.wanted,
                "is_usable": state.is_usable,
            }
        )
    else:
        say(_state_text(state))
    if not state.is_usable:
        raise typer.Exit(1)


def grant(
    role: Role,
    *,
    read_only: Annotated[bool, typer.Option("--read-only", help="Only what reading commands need.")] = False,
    erases: Annotated[bool, typer.Option("--may-erase", help="Also what it takes to erase customers.")] = False,
    views: Annotated[bool, typer.Option("--views", help="Only the views for reporting tools, and no table.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give a database role what the worker needs and nothing else: no DDL, and nothing that is booked can be changed.

    \b
    loyalty db grant loyalty_worker
    loyalty db grant loyalty_worker --may-erase
    loyalty db grant support --read-only
    loyalty db grant tableau --views

    Connect as the owner of the tables. What the role was given on them before is taken away; again, nothing changes.
    """
    if views + read_only + erases > 1:
        raise WhichGrantError
    _check_named([role])
    with opened_database(Settings()) as engine, _telling_lost_rights(engine, [role], "--may-erase") as connection:
        if views:
            grants = grant_views(connection, role)
        else:
            grants = grant_role(connection, role, read_only=read_only, erases=erases)
    if as_json:
        print_json({"role": role, "grants": grants})
        return
    print_listing(
        ("Table or view", f"{role} may"), [Row((found.table, ", ".join(found.privileges))) for found in grants]
    )


def _state_text(state: TablesState) -> str:
    suits = f"It suits releases of tables {state.oldest_revision or state.found} and later"
    if state.found == state.wanted:
        return f"The database is at {state.found}, as this release wants it. {suits}."
    if state.is_newer:
        here = "so this one" if state.is_usable else "but not this one"
        return f"The database is at {state.found}, of a later release. {suits}, {here}, which has {state.wanted}."
    return f"The database is at {state.found or 'nothing'}, this release wants {state.wanted}. Run: loyalty db upgrade"

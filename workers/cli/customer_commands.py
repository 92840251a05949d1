"""`loyalty customer`: all that is held of a person, and its end."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from config.settings import Settings
from core.domain.value.commands import CUSTOMER
from core.reading.customer_data import CustomerData, load_customer_data
from core.reading.snapshot import Snapshot
from core.reading.storefront import find_accounts
from workers.cli.account_commands import NamedBy, NameKind
from workers.cli.command_errors import NothingHeldError
from workers.cli.customer_page import customer_page
from workers.cli.output import AsJson, Row, json_value, print_listing, printable, say
from workers.cli.value_commands import add_spellings
from workers.cli.wiring import opened_snapshot
from workers.secrets import reference_salt


class ExportFormat(StrEnum):
    """Who reads what is exported."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.command()(export)
    add_spellings(group, "customer")
    app.add_typer(group, name="customer", help="All that is held of a person, and its end.")


def export(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="The shop's own id of the customer.")],
    named_by: NamedBy = NameKind.CUSTOMER,
    form: Annotated[
        ExportFormat, typer.Option("--format", help="text says where; json and html have all of it.")
    ] = ExportFormat.TEXT,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write it there, for its owner alone to read.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell all that is held of a customer, as they may be given it: nothing of others, none of our own numbers.

    \b
    loyalty customer export C-1001
    loyalty customer export C-1001 --json --output C-1001.json
    loyalty customer export C-1001 --format html --output C-1001.html

    Exit code 1 where nothing is held, as after loyalty customer erase.
    """
    with opened_snapshot(Settings()) as now:
        customer_id = _customer_id(now, customer, named_by)
        found = load_customer_data(now.connection, customer_id, now.as_of)
    if found is None:
        raise NothingHeldError
    chosen = ExportFormat.JSON if as_json else form
    if chosen is ExportFormat.TEXT and output is None:
        _say(found)
        return
    text = _page(found) if chosen is ExportFormat.HTML else _document(found)
    if output is None:
        sys.stdout.write(text)
        return
    output.touch(mode=0o600)
    output.write_text(text, encoding="utf-8")
    say(f"Written to {output}.")


def _customer_id(now: Snapshot, name: str, named_by: NameKind) -> str:
    if named_by.value == CUSTOMER:
        return name
    return find_accounts(now, name, kind=named_by.value, salt=reference_salt(Settings()))[0].customer_id


def _document(found: CustomerData) -> str:
    held = {place.table: place.rows for place in found.places}
    document = {"customer_id": found.customer_id, "as_of": found.as_of, "held": held}
    return json.dumps(json_value(document), ensure_ascii=False, indent=2) + "\n"


def _page(found: CustomerData) -> str:
    return customer_page(found)


def _say(found: CustomerData) -> None:
    say(f"What is held of {printable(found.customer_id)}", style="bold")
    print_listing(("  ", ">rows"), [Row((f"  {place.title}", f"{len(place.rows):,}")) for place in found.places])
    say("All of it: --json, or --format html for a page that can be read and printed.")

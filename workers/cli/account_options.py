"""Arguments and options that the commands of `loyalty account` share."""

from typing import Annotated

import typer

from workers.cli.output import LIMIT_MAX

CustomerId = Annotated[str, typer.Argument(metavar="CUSTOMER", help="The shop's own id of the customer.")]
ProgramId = Annotated[str | None, typer.Option("--program", help="Only the account in this program.")]
AsOf = Annotated[
    str | None, typer.Option("--as-of", metavar="TIME", help="As it was recorded at this instant, with its offset.")
]
EntriesMax = Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="The last so many entries of each account.")]

"""`--data-dir`, which every command takes, wherever on its line it stands."""

import inspect
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

_NAMED = "loyalty.data_dir"


def _use(context: typer.Context, folder: Path | None) -> None:
    if folder is not None:
        context.meta[_NAMED] = folder  # of the whole line
        # Through the environment, so that the processes that a command starts use the same folder.
        os.environ["LOYALTY_DATA_DIR"] = str(folder.absolute())


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", callback=_use, show_default=False, help="Folder of the embedded servers, .loyalty by default."
    ),
]


def named_data_dir(context: typer.Context) -> Path | None:
    """The folder that this command line names; None if none is named there, whatever the settings say."""
    return context.meta.get(_NAMED)


def take_data_dir_everywhere(app: typer.Typer) -> None:
    """Give the option to each command and group below `app`."""
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group.typer_instance.callback()(_group)
            take_data_dir_everywhere(group.typer_instance)
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _with_data_dir(command.callback)


def _group(_data_dir: DataDir = None) -> None:
    """Take the option before the name of the command."""


def _with_data_dir(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def run(*arguments: Any, _data_dir: Path | None, **named: Any) -> Any:  # its callback has used it
        return function(*arguments, **named)

    signature = inspect.signature(function)
    option = inspect.Parameter("_data_dir", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=DataDir)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {**function.__annotations__, "_data_dir": DataDir}
    return run

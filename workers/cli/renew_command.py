"""`loyalty renew-stream`: a shop stream that somebody has closed takes messages again."""

import typer

from config.settings import Settings
from workers.brokers import renew_closed_stream
from workers.brokers.topology import SHOP_STREAM
from workers.cli.broker_wiring import broker_url
from workers.cli.output import AsJson, count_text, print_json, say


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(renew_stream)


def renew_stream(*, as_json: AsJson = False) -> None:
    """Let the shop stream of Redis or Valkey take messages again after somebody has used up its ids.

    \b
    loyalty renew-stream

    Whoever may add messages may choose an id, and after the greatest one the stream refuses every other, for good:
    `loyalty status` names it as stream_closed. A fresh stream takes its place in one step, with all that waits; what an
    intake is storing just now comes again, as a repeat. A stream that takes messages is left alone.
    """
    moved = renew_closed_stream(broker_url(Settings()))
    if as_json:
        print_json({"is_renewed": moved is not None, "moved": moved})
    elif moved is None:
        say("Nothing to do: shops can send.")
    else:
        waiting = count_text(moved, "message that waits is in it", "messages that wait are in it")
        say(f"{SHOP_STREAM} takes messages again; {waiting if moved else 'nothing waited'}.")
        say("Find out who closed it, and take the right to send from them: they can do it again.")

"""What commands are given that speak to the broker. Those that only read would wait for Celery to be imported."""

from collections.abc import Iterable
from time import monotonic

from config.settings import Settings
from core.errors import NoServersError
from workers.bootstrap import known_broker_url
from workers.celery_app import create_app
from workers.cli.command_errors import NoBrokerError
from workers.nudging import Nudger
from workers.process_logs import set_up_logging

#: Nudges are hints: a broker that does not answer must not hold a command up.
_NUDGE_SECONDS_MAX = 5.0


def broker_url(settings: Settings) -> str:
    """The broker that the settings name, else the embedded one that runs in the data folder."""
    url = known_broker_url(settings)
    if url is None:
        raise NoBrokerError
    return url


def wake_posting(settings: Settings, shards: Iterable[int]) -> None:
    """Say to workers which shards have new messages. Without a broker the sweep finds them, within a second."""
    waiting = sorted(shards)
    if not waiting:
        return
    try:
        app = create_app(settings)
    except NoServersError:
        return
    set_up_logging(settings)
    deadline = monotonic() + _NUDGE_SECONDS_MAX
    nudger = Nudger(app)
    for shard in waiting:
        if monotonic() > deadline:
            break
        nudger.send("loyalty.post_inbox", shard)
    nudger.close()
    app.close()

"""A bare Celery task that does nothing, beside which latencies are shown: a worker of two processes, with defaults."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Queue

_QUEUE = "benchmarks.no_op"


def run(sent_at: float) -> None:
    """Note how long it took to get here; all processes of a machine share the monotonic clock."""
    with Path(os.environ["NO_OP_FILE"]).open("a", encoding="ascii") as file:
        file.write(f"{time.monotonic() - sent_at}\n")


def create_no_op_app(broker_url: str) -> tuple[Celery, Callable[..., Any]]:
    """Make the app and its one task."""
    app = Celery("no_op", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        worker_concurrency=2,
        task_queues=[Queue(_QUEUE, auto_delete=True)],
        task_default_queue=_QUEUE,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
    )
    return app, app.task(name="no_op.run")(run)


def main() -> None:
    """Run the worker."""
    app, _ = create_no_op_app(os.environ["LOYALTY_BROKER_URL"])
    app.worker_main(["worker", "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR"])


if __name__ == "__main__":
    main()

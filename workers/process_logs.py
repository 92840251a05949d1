"""What a process logs to standard error: a record per line, JSON where that is asked for, whoever speaks.

In JSON every line is a record, also what Celery prints when it is told to stop, a warning of Python, and a crash. Each
says which role, host, process and release it is of.
"""

import io
import logging
import os
import socket
import sys
import threading
from pathlib import Path
from traceback import extract_stack
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog

from config.release import RELEASE
from config.settings import Settings
from core.store.failures import frames
from workers.library_logs import without_contents

Format = Literal["json", "console"]

_FRAMES_MAX = 5

log = structlog.get_logger(__name__)


def set_up_logging(settings: Settings, role: str = "command") -> None:
    """Log to standard error with stable `action` names."""
    _configure(settings.log_format, settings.log_level, role)


def log_as_process(settings: Settings, role: str) -> None:
    """Log, and if in JSON let nothing else reach standard output and standard error: for what runs until it is stopped.

    Warnings of Python are records too. A second call, after a fork, does the same anew.
    """
    set_up_logging(settings, role)
    if settings.log_format == "json":
        _silence_others()


def log_failed_start(role: str) -> None:
    """Log as far as that can be done with settings that cannot be read."""
    named = os.environ.get("LOYALTY_LOG_FORMAT")
    log_format: Format = "console" if named == "console" or (named is None and sys.stderr.isatty()) else "json"
    _configure(log_format, "info", role)
    if log_format == "json":
        _silence_others()


def speaks_records() -> bool:
    """Whether this process lets nothing but records reach its standard error."""
    return isinstance(sys.stderr, _Silenced)


def _configure(log_format: Format, log_level: str, role: str) -> None:
    stream = sys.stderr.real if isinstance(sys.stderr, _Silenced) else sys.stderr
    is_json = log_format == "json"
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if is_json else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    level = logging.getLevelNamesMapping()[log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        *([_of_process(role)] if is_json else []),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Each record with its line end in one write: processes that share a pipe must not cut into each other's lines.
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    chain: list[structlog.typing.Processor] = [without_contents, structlog.stdlib.add_logger_name, *shared]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=chain))
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def _of_process(role: str) -> structlog.typing.Processor:
    host = socket.gethostname()

    def add(_logger: Any, _method: str, event: Any) -> Any:
        event.setdefault("role", role)  # the supervisor's records name the role that they are about
        event["host"], event["pid"], event["version"] = host, os.getpid(), RELEASE
        return event

    return add


def _silence_others() -> None:
    sys.excepthook = _log_crash
    threading.excepthook = _log_crash_of_thread
    sys.unraisablehook = _log_unraisable
    logging.captureWarnings(True)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, _Silenced):
            setattr(sys, name, _Silenced(stream))


class _Silenced(io.TextIOBase):
    """Takes what others print. A record says who printed, and not what: nobody knows whose data are in it."""

    encoding = "utf-8"

    def __init__(self, real: TextIO) -> None:
        self.real = real

    def write(self, text: str) -> int:
        if text.strip():
            log.warning("line_printed", action="line_printed", characters=len(text), frames=_printing_frames())
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.real.fileno()

    def isatty(self) -> bool:
        return self.real.isatty()

    def flush(self) -> None:
        self.real.flush()


def _printing_frames() -> list[str]:
    stack = extract_stack()[:-2]
    return [f"{frame.name} ({Path(frame.filename).name}:{frame.lineno})" for frame in stack[-_FRAMES_MAX:]]


def _log_crash(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.critical("process_crashed", action="process_crashed", error=kind.__name__, frames=frames(error))


def _log_crash_of_thread(crash: threading.ExceptHookArgs) -> None:
    if crash.exc_value is not None:
        _log_crash(crash.exc_type, crash.exc_value, crash.exc_traceback)


def _log_unraisable(failure: "sys.UnraisableHookArgs") -> None:
    error = failure.exc_value
    log.warning(
        "error_ignored",
        action="error_ignored",
        error=failure.exc_type.__name__,
        frames=[] if error is None else frames(error),
    )

"""What handling costs, counted so that it is the same each time: lines of Python that run, and memory at most.

Lines are counted of whatever runs, the standard library's too; work within one call of C is seen by its memory alone.
"""

import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple


class Cost(NamedTuple):
    """What one call took."""

    lines: int
    memory_bytes: int  #: the most that it held at once


def cost_of(work: Callable[[], object]) -> Cost:
    """Run it, and count. A tracer that is there, such as one of coverage, sees nothing of it."""
    lines = 0

    def count(_frame: FrameType, event: str, _value: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    tracemalloc.start()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
        _, memory_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return Cost(lines, memory_bytes)

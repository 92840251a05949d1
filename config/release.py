"""Which release this is: what `loyalty --version` prints, and what every record of the log carries."""

from importlib.metadata import version
from typing import Final

RELEASE: Final = version("loyalty-worker")

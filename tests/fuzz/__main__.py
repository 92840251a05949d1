"""Fuzzes one parser by hand, guided by coverage: `python -m tests.fuzz PARSER --seconds 60`.

Begins with the parser's corpus. What fails is kept in the corpus, where the tests replay it; what is merely new is
kept in build/fuzz, for the next run. Needs `pip install atheris`, which is no part of this project's lock.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
BUILD = FOLDER.parents[1] / "build" / "fuzz"
INPUT_BYTES_MAX = 4_096
#: An input that takes longer hangs.
INPUT_SECONDS_MAX = 10
MISSING = "atheris is not installed here. Install it beside the project: pip install atheris"


def main() -> int:
    """Run libFuzzer in a process of its own, which it ends itself, and take over what it found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("parser", choices=sorted(path.name for path in (FOLDER / "corpus").iterdir()))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    given = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.exit(MISSING)
    known, found, failures = FOLDER / "corpus" / given.parser, BUILD / given.parser, BUILD / f"{given.parser}.failures"
    for folder in (found, failures):
        folder.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={given.seconds}", f"-max_len={INPUT_BYTES_MAX}", f"-timeout={INPUT_SECONDS_MAX}",
        f"-seed={given.seed}", f"-artifact_prefix={failures}/", "-print_final_stats=1", "-verbosity=1",
    ]  # fmt: skip
    code = subprocess.call([sys.executable, "-c", _CHILD, given.parser, *options, str(found), str(known)])
    for path in failures.iterdir():
        shutil.move(path, known / path.name)
        print(f"kept: {known / path.name}")  # noqa: T201  # what the person who runs it looks at
    return code


_CHILD = """
import sys, atheris
name = sys.argv.pop(1)
with atheris.instrument_imports(include=["core", "workers", "yaml", "tests.fuzz"]):
    from tests.fuzz.parsers import PARSERS
atheris.Setup(sys.argv, PARSERS[name])
atheris.Fuzz()
"""

if __name__ == "__main__":
    sys.exit(main())

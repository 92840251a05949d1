"""`python -m workers` is the `loyalty` command."""

from workers.cli import main

main()

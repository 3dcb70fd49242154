"""`python -m mlforhpc` is the command `mlforhpc`."""

from mlforhpc.cli import main

main()

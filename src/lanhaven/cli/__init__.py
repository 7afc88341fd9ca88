"""The command line.

Only typer is imported before a command is known; everything else inside the commands, so that `lanhaven --help` stays
under 150 ms. `app.py` has the tree, one file per group of commands the rest.
"""

from __future__ import annotations


def main() -> None:
    """The console script: run the command named by the process arguments and exit with its status."""
    import sys

    from lanhaven.cli.app import run

    sys.exit(run(sys.argv[1:]))

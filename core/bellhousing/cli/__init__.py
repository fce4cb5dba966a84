"""The command line: `main` is what `bellhousing` runs."""

import sys

INTERRUPTED = 130


def main() -> None:
    """Run a command.

    Exit codes: 0 it went well; 1 it failed and may work later; 2 the command, a file or a setting must change; 3
    `migrate` could not keep everything; 130 it was interrupted.
    """
    try:
        # Imported here, so that Ctrl-C in the half second that it takes ends as quietly as later.
        from bellhousing.cli.application import run

        code = run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)

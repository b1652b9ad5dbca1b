"""The command line: ``knock``. What goes wrong around the commands is told in one line."""

import os
import sys

from knock.cli.exit_code import CANNOT_WRITE, INTERRUPTED


def main() -> None:
    """Run the command. Exits with 130 after Ctrl-C, with 74 if what it prints cannot be written."""
    try:
        # Here, since Ctrl-C may come while all of it is loaded.
        from knock.cli.app import cli  # noqa: PLC0415

        cli(prog_name="knock")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as exc:
        _give_up_writing(f"knock: cannot write: {exc.strerror}\n")
        sys.exit(CANNOT_WRITE)


def _give_up_writing(why: str) -> None:
    try:
        sys.stderr.write(why)
        sys.stderr.flush()
    except OSError:
        pass  # that is where it could not write
    # What is left in the buffers would fail again, with a traceback, when the interpreter ends.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)

"""The way in and out of the ``xpnet`` command: what runs first, and with which exit code it ends."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from xpnet import blas
from xpnet.cli.extras import require
from xpnet.errors import XpnetError

__all__ = ["INTERRUPTED", "main"]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""

_FAILED, _USAGE = 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``xpnet`` command and return its exit code.

    Exit codes: 0 done, 1 run failed, 2 usage, 3 device not available, 4 diverged, 5 bad data,
    130 interrupted with the state saved. An error is one line on stderr; ``--debug`` adds the traceback.

    Args:
        argv: the arguments behind the program's name; None takes those of the process.
    """
    # OpenBLAS reads its choice of kernel once, when NumPy loads: this has to come before everything else.
    blas.prefer_faster_kernel()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        return _report(error)
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED


def _run(arguments: list[str]) -> int:
    require("typer", "rich")
    from xpnet.cli.app import build

    app = build(arguments)
    if not arguments:
        app(["--help"], prog_name="xpnet", standalone_mode=False)
        return _USAGE
    code = app(arguments, prog_name="xpnet", standalone_mode=False)
    sys.stdout.flush()  # so that a full disk behind a redirected stdout is noticed here
    return code if isinstance(code, int) else 0


def _report(error: Exception) -> int:
    """Say on stderr what went wrong, and return the exit code for it."""
    if isinstance(error, BrokenPipeError):  # the reader of our output has left, as ``| head`` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    if isinstance(error, XpnetError):
        _complain(f"error: {error}")
        return error.exit_code
    if hasattr(error, "format_message"):  # of the command line's parser
        _complain(f"error: {error.format_message()} (see xpnet --help)")
        return int(getattr(error, "exit_code", _USAGE))
    if type(error).__name__ == "Abort":
        _complain("interrupted")
        return INTERRUPTED
    if isinstance(error, OSError):
        place = f"'{error.filename}': " if error.filename else ""
        _complain(f"error: {place}{error.strerror or error}")
        return _FAILED
    if isinstance(error, MemoryError):
        _complain(f"error: out of memory ({error or 'none left'}): use a smaller --batch-size or model")
        return _FAILED
    name = type(error).__name__
    _complain(f"error: unexpected {name}: {error} (a fault of xpnet; --debug shows where it happened)")
    return _FAILED


def _complain(line: str) -> None:
    print(" ".join(line.split("\n")), file=sys.stderr)

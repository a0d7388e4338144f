"""Entry point of the ``xpnet`` command: what runs first, exit codes, errors as one line."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from types import FrameType

from xpnet import blas
from xpnet.cli.console import INTERRUPTED, reason
from xpnet.cli.extras import require
from xpnet.errors import XpnetError

__all__ = ["main"]

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
    with _CtrlC() as ctrl_c:
        try:
            return _run(arguments)
        except Exception as error:
            if "--debug" in arguments:
                traceback.print_exc()
            # an import that Ctrl-C cuts short may end in an ImportError
            if not ctrl_c.pressed or isinstance(error, XpnetError):
                return _report(error)
        except KeyboardInterrupt:
            pass
    _complain("interrupted")
    return INTERRUPTED


class _CtrlC:
    """Inside this context, remembers whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.pressed = False
        self._ours = threading.current_thread() is threading.main_thread() and (
            signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )

    def __enter__(self) -> _CtrlC:
        if self._ours:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        signal.default_int_handler(number, frame)


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
        _complain(f"error: {reason(error)}")
        return _FAILED
    if isinstance(error, MemoryError):
        _complain(f"error: out of memory ({error or 'none left'}): use a smaller --batch-size or model")
        return _FAILED
    name = type(error).__name__
    _complain(f"error: unexpected {name}: {error} (a fault of xpnet; --debug shows where it happened)")
    return _FAILED


def _complain(line: str) -> None:
    print(" ".join(line.split("\n")), file=sys.stderr)

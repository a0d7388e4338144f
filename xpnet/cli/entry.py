"""Entry point of the ``xpnet`` command: what runs first, exit codes, errors as one line."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence

from xpnet import blas
from xpnet.cli.console import Stopped, message, messages
from xpnet.cli.wording import said as said_by
from xpnet.errors import ConfigError, XpnetError, reason
from xpnet.extras import require
from xpnet.runs.signals import Signals, held
from xpnet.streams import standard_streams

__all__ = ["main"]

_FAILED, _USAGE = 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``xpnet`` command and return its exit code.

    Exit codes: 0 done, 1 run failed or pruning short of its target, 2 usage, 3 device not available, 4
    diverged, 5 bad data; with the state saved 130 interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP. An
    error is one line on stderr, and one more for each of several problems of a table; ``--debug`` adds the
    traceback. Output that cannot be written ends nothing; the exit code is then 1, unless a training has kept
    its results and there is just nobody who reads them.
    """
    # OpenBLAS reads its choice of kernel once, when NumPy loads: this has to come before everything else.
    blas.prefer_faster_kernel()
    arguments = list(sys.argv[1:] if argv is None else argv)
    with standard_streams() as stdout, messages(), Signals() as signals:
        try:
            done = _run(arguments)
            stdout.flush()
        except KeyboardInterrupt:
            with held():
                message("interrupted")
            return signals.exit_code
        except Exception as error:
            with held():
                if "--debug" in arguments:
                    traceback.print_exc()
                # an import that a signal cuts short may end in an ImportError
                if signals.first is not None and not isinstance(error, (XpnetError, Stopped)):
                    error = Stopped("interrupted")
                if not isinstance(error, Stopped):
                    return _report(error)
                message(error.args[0])
            return signals.exit_code
        if stdout.failure is not None and not (done == 0 and _is_nobody(stdout.failure)):
            if not isinstance(stdout.failure, BrokenPipeError):  # the reader has left, as ``| head`` does
                said = reason(stdout.failure) if isinstance(stdout.failure, OSError) else stdout.failure
                message(f"error: standard output cannot be written: {said}")
            return done or _FAILED
        return done or 0


def _is_nobody(failure: Exception) -> bool:
    """Whether nobody reads an output: the pipe or the stream is closed, or the terminal is gone."""
    return getattr(failure, "errno", None) in (errno.EPIPE, errno.EBADF, errno.EIO)


def _run(arguments: list[str]) -> int | None:
    """Run a command; return its exit code, None if its output was all that it was to make."""
    for argument in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            raise ConfigError(f"argument {argument!r}: expected text, found other bytes; rename the file")
    require("typer", "rich")
    from xpnet.cli.app import build, spelled

    app, arguments = build(arguments), spelled(arguments)
    if not arguments:
        app(["--help"], prog_name="xpnet", standalone_mode=False)
        return _USAGE
    code = app(arguments, prog_name="xpnet", standalone_mode=False)
    return code if isinstance(code, int) else None


def _report(error: Exception) -> int:
    """Say on stderr what went wrong, and return the exit code for it."""
    name = type(error).__name__
    code = _FAILED
    lines = getattr(error, "lines", None)  # of a `TableError`, whose module is not loaded for this
    if isinstance(error, XpnetError) and lines:
        heading, *problems = lines
        message(f"error: {heading}")
        for problem in problems:
            message(f" {problem}")
        return error.exit_code
    if isinstance(error, XpnetError):
        said, code = said_by(error), error.exit_code
    elif hasattr(error, "format_message"):  # of the command line's parser
        said, code = f"{error.format_message()} (see xpnet --help)", int(getattr(error, "exit_code", _USAGE))
    elif isinstance(error, OSError):
        said = reason(error)
    elif isinstance(error, MemoryError):
        said = f"out of memory ({error or 'none left'}): use a smaller --batch-size or model"
    else:
        said = f"unexpected {name}: {error} (a fault of xpnet; --debug shows where it happened)"
    message(f"error: {said}")
    return code

"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

__all__ = ["check_regular", "write_atomically"]


def write_atomically(
    path: str | os.PathLike[str], content: bytes | str | Callable[[IO[bytes]], object]
) -> None:
    """Write ``content`` to a temporary file beside ``path``, flush it to the disk, and rename it.

    Whatever goes wrong, ``path`` holds either its old content or the new one, and no temporary file stays.

    Args:
        path: the file to write; one that exists is replaced.
        content: bytes, text (written as UTF-8), or a function that writes to an open binary file.

    Raises:
        OSError: the disk is full, the folder is missing or cannot be written.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        error.filename, error.filename2 = str(path), None  # that which the user knows, if any is named at all
        raise
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """Return the process's umask, which mkstemp ignores in favour of owner-only files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device"}


def check_regular(path: str | os.PathLike[str]) -> os.stat_result:
    """Return the status of a file that can be read again and again, and has an end.

    Raises:
        OSError: it is none: a folder, a named pipe (where reading waits for a writer), a device, a socket; or
            there is none.
    """
    try:
        found = os.stat(path)
    except ValueError as error:  # a zero byte in the name
        raise FileNotFoundError(errno.ENOENT, str(error), str(path)) from None
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind != stat.S_IFREG:
        said = f"it is {_KINDS.get(kind, 'no regular file')}; write its content to a file, and name that"
        raise OSError(errno.ENOTSUP, said, str(path))
    return found

"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

__all__ = ["write_atomically"]


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
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
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

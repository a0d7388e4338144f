"""Files written so that a reader never sees half of one, and files of strangers read as data alone."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from xpnet.errors import memory_in_words
from xpnet.text import visible

__all__ = [
    "MOST_TEXT",
    "append",
    "check_regular",
    "flush_folder",
    "linked_parts",
    "open_regular",
    "read_regular",
    "write_atomically",
]

MOST_TEXT = 2**26
"""Bytes that are read of a file of text, such as a configuration: 64 MiB."""

# Not followed: a link; not waited for: a FIFO.
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_PLAIN |= getattr(os, "O_BINARY", 0)


def write_atomically(
    path: str | os.PathLike[str], content: bytes | str | Callable[[IO[bytes]], object]
) -> None:
    """Write ``content`` to a temporary file beside ``path``, flush it to the disk, and rename it.

    Whatever goes wrong, ``path`` holds either its old content or the new one, and no temporary file stays.
    The folder is flushed too, so that a machine that fails later finds the new one.

    Args:
        path: the file to write; one that exists is replaced, and so is a link, not what it points to.
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
    flush_folder(path.parent)


def _umask() -> int:
    """Return the process's umask, which mkstemp ignores in favour of owner-only files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        said = f"it is {_what_else(found)}; write its content to a file, and name that"
        raise OSError(errno.ENOTSUP, said, str(path))
    return found


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, on systems where that can be done.

    Where it fails, no error is raised: after a power failure the folder may have its old names, of old files.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_regular(path: str | os.PathLike[str], most: int = MOST_TEXT, *, follow: bool = False) -> bytes:
    """Return the content of a regular file of at most so many bytes; see `open_regular`."""
    with open_regular(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            found, limit = memory_in_words(size), memory_in_words(most)
            raise OSError(errno.EFBIG, f"expected at most {limit}, found {found}", os.fspath(path))
        return file.read(most + 1)


@contextlib.contextmanager
def open_regular(path: str | os.PathLike[str], *, follow: bool = False) -> Iterator[IO[bytes]]:
    """Open a regular file for reading, whatever other names (hard links) it has.

    Args:
        path: the file.
        follow: whether ``path`` may be a link, as one that the user names himself.

    Raises:
        OSError: there is none, or it is a link, FIFO, folder or device.
    """
    with _opened(path, os.O_RDONLY, follow=follow) as handle, open(handle, "rb", closefd=False) as file:
        yield file


def append(path: str | os.PathLike[str], text: str, *, make: bool = True, flush: bool = False) -> None:
    """Append text to a regular file, never through a link, be it a hard one.

    Args:
        path: the file.
        text: what to append.
        make: whether to make the file if there is none.
        flush: whether to bring it to the disk.

    Raises:
        OSError: it cannot be written, or is a link, FIFO, folder or device.
    """
    with _opened(path, os.O_WRONLY | os.O_APPEND | (os.O_CREAT if make else 0)) as handle:
        left = memoryview(text.encode(errors="backslashreplace"))
        while left:
            left = left[os.write(handle, left) :]
        if flush:
            os.fsync(handle)


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str], flags: int, *, follow: bool = False) -> Iterator[int]:
    plain = _PLAIN & ~getattr(os, "O_NOFOLLOW", 0) if follow else _PLAIN
    try:
        if not (follow or hasattr(os, "O_NOFOLLOW")) and os.path.islink(path):  # Windows
            raise OSError(errno.ELOOP, "")
        handle = os.open(path, flags | plain, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # what a link and a FIFO without reader give
            what = "a symbolic link" if error.errno == errno.ELOOP else "a named pipe"
            raise OSError(error.errno, f"expected a regular file, found {what}", os.fspath(path)) from None
        raise
    except ValueError as error:  # a NUL in its name
        raise OSError(errno.EINVAL, str(error), visible(os.fspath(path))) from None
    try:
        what = _what_else(os.fstat(handle), links=not flags & os.O_WRONLY)
        if what:
            raise OSError(errno.EINVAL, f"expected a regular file, found {what}", os.fspath(path))
        yield handle
    finally:
        os.close(handle)


def _what_else(found: os.stat_result, *, links: bool = False) -> str:
    """Return what something is if it is no regular file of one name; empty if it is."""
    kinds = {
        stat.S_ISLNK: "a symbolic link",
        stat.S_ISDIR: "a folder",
        stat.S_ISFIFO: "a named pipe",
        stat.S_ISSOCK: "a socket",
    }
    if stat.S_ISREG(found.st_mode):
        return "a hard link to another file" if found.st_nlink > 1 and not links else ""
    return next((name for is_one, name in kinds.items() if is_one(found.st_mode)), "a device")


def linked_parts(paths: Iterable[Path], *, hard: bool = True) -> Iterator[tuple[Path, str]]:
    """Yield those of some files and folders, and of all in these, that are neither, with what they are.

    Those are links, FIFOs and devices: through them, writing or reading would reach what lies elsewhere.

    Args:
        paths: of the files and folders.
        hard: whether hard links are among them, through which only writing would.
    """
    for path in paths:
        try:
            found = os.lstat(path)
        except OSError:
            continue  # there is none
        if stat.S_ISDIR(found.st_mode):
            yield from linked_parts(list(path.iterdir()), hard=hard)
        elif what := _what_else(found, links=not hard):
            yield path, what

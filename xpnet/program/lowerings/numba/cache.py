"""Cache of compiled code, kept between processes.

Whoever can change a file of compiled code can have code run. So a folder is opened by its parts, each of
which must belong to the user (or the system) and be closed to the writing of others, at each use; files are
opened in that very folder, without following links, and must be the user's own as well. And a file is read
only if it has the right code of authentication (HMAC-SHA-256) by a secret key of the user's, which lies
beside it: what was damaged, exchanged, or written by somebody else is compiled anew.

A cache that cannot be read or written costs the time of compiling, and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["cache_folder", "load", "save"]

_log = logging.getLogger("xpnet")
_KEPT = 200  # programs
_LARGEST = 2**26  # bytes of a file that is read
_FORMAT = b"xpnet compiled code 1\n"
_ENDING, _KEY = ".code", "key"
_FORMER, _FORMER_FILE = "__pycache__", re.compile(r"program_[0-9a-f]{32}\.")
_LINKS = 40  # in a path, as systems allow
_STALE = 3600  # seconds after which an unfinished file is one of a process that was killed
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class _RefusedError(OSError):
    """Others may write to a folder or a file."""


def cache_folder() -> Path | None:
    """Return the folder of compiled programs; None if there is to be none.

    ``XPNET_CACHE_DIR``, else ``xpnet`` in the user's folder for caches; none if the variable is empty.
    """
    chosen = os.environ.get("XPNET_CACHE_DIR")
    if chosen == "":
        return None
    with contextlib.suppress(RuntimeError):  # no home
        return (Path(chosen) if chosen else _caches() / "xpnet") / "numba"
    return None


def _caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def load(name: str) -> bytes | None:
    """Return what was saved under a name; None if there is nothing, or not what was saved."""
    try:
        with _opened() as folder:
            if folder is None or (content := folder.read(name + _ENDING)) is None:
                return None
            size = len(_FORMAT) + hashlib.sha256().digest_size
            known = hmac.compare_digest(content[:size], _FORMAT + _mac(folder.key(), name, content[size:]))
            if not known:
                _log.debug("compiled code in %s is damaged, or not ours: compiled anew", folder.path / name)
            return content[size:] if known else None
    except OSError as error:
        _say(error)
        return None


def save(name: str, content: bytes) -> None:
    """Keep bytes under a name, if that can be done; the oldest ones are forgotten."""
    try:
        with _opened() as folder:
            if folder is not None:
                folder.forget_oldest()
                folder.write(name + _ENDING, _FORMAT + _mac(folder.key(), name, content) + content)
    except OSError as error:
        _say(error)


def _mac(key: bytes, name: str, content: bytes) -> bytes:
    return hmac.digest(key, name.encode() + b"\n" + content, "sha256")


def _say(error: OSError) -> None:
    if isinstance(error, _RefusedError):
        _warn(str(error))
    else:
        _log.debug("compiled code is not kept: %s", error)


@functools.cache
def _warn(message: str) -> None:
    """Say it once."""
    _log.warning("compiled code is not kept: %s", message)


class _Folder:
    """A folder that is open, by which its files are reached.

    Args:
        path: of the folder.
        handle: of it; None where the system has no handles of folders (Windows), and paths have to do.
    """

    def __init__(self, path: Path, handle: int | None):
        self.path = path
        self._handle = handle

    def _file(self, name: str) -> Path | str:
        return self.path / name if self._handle is None else name

    def read(self, name: str) -> bytes | None:
        """Return the content of a file of the user's; None if there is none."""
        try:
            file = os.open(self._file(name), _OPEN, dir_fd=self._handle)
        except FileNotFoundError:
            return None
        with os.fdopen(file, "rb") as opened:
            info = os.fstat(file)
            if not stat.S_ISREG(info.st_mode) or info.st_size > _LARGEST:
                raise OSError(errno.EINVAL, f"{self.path / name} is no file of compiled code")
            if os.name == "posix" and (info.st_uid != os.getuid() or info.st_mode & 0o022):
                raise OSError(errno.EPERM, f"{self.path / name} belongs to others, or they may write to it")
            return opened.read(_LARGEST)

    def write(self, name: str, content: bytes) -> None:
        """Write a file that is there as a whole or not at all."""
        temporary = f".{name}.{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        file = os.open(self._file(temporary), flags, 0o600, dir_fd=self._handle)
        try:
            with os.fdopen(file, "wb") as opened:
                opened.write(content)
            os.replace(
                self._file(temporary), self._file(name), src_dir_fd=self._handle, dst_dir_fd=self._handle
            )
        except BaseException:
            with contextlib.suppress(OSError):
                self._remove(temporary)
            raise

    def key(self) -> bytes:
        """Return the user's secret key, drawn if need be."""
        with contextlib.suppress(OSError):
            known = self.read(_KEY)
            if known is not None and len(known) == 32:
                return known
        self.write(_KEY, secrets.token_bytes(32))
        return self.read(_KEY) or b""  # of two processes that draw one at once, the last one's

    def forget_oldest(self) -> None:
        """Leave room for one more program, and remove what killed processes left."""
        names = os.listdir(self.path if self._handle is None else self._handle)
        dated = sorted((self._date(name), name) for name in names)
        kept = [name for _, name in dated if name.endswith(_ENDING)]
        stale = [name for date, name in dated if name.endswith(".tmp") and date < time.time() - _STALE]
        for name in (*kept[: max(0, len(kept) + 1 - _KEPT)], *stale):
            with contextlib.suppress(OSError):
                self._remove(name)
        if _FORMER in names and self._handle is not None:
            with contextlib.suppress(OSError):
                self._forget_former(names)

    def _forget_former(self, names: list[str]) -> None:
        """Remove what xpnet kept here before: sources, and the files that numba made of them."""
        beside = os.open(_FORMER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._handle)
        try:
            for folder, found in ((beside, os.listdir(beside)), (self._handle, names)):
                for name in filter(_FORMER_FILE.match, found):
                    os.unlink(name, dir_fd=folder)
        finally:
            os.close(beside)
        os.rmdir(_FORMER, dir_fd=self._handle)  # if nothing else is in it

    def _date(self, name: str) -> float:
        with contextlib.suppress(OSError):
            return os.stat(self._file(name), dir_fd=self._handle, follow_symlinks=False).st_mtime
        return 0.0

    def _remove(self, name: str) -> None:
        os.unlink(self._file(name), dir_fd=self._handle)


@contextlib.contextmanager
def _opened() -> Iterator[_Folder | None]:
    """Open the folder of compiled programs, made if need be; None if there is to be none."""
    path = cache_folder()
    if path is None:
        yield None
    elif os.name != "posix":  # access lists keep others out of the user's folders
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield _Folder(path, None)
    else:
        handle = _walked(path)
        try:
            yield _Folder(path, handle)
        finally:
            os.close(handle)


def _walked(path: Path) -> int:
    """Return a handle of a folder, each part of whose path nobody else can exchange; missing ones are made.

    Links are followed by hand: those of the user's or the system's, in folders like these.
    """
    directory = os.O_RDONLY | os.O_DIRECTORY
    parts, links = _parts(os.path.abspath(path)), 0
    handle = os.open("/", directory)
    try:
        while parts:
            part = parts.pop()
            if not _is_there(part, handle):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=handle)
            info = os.stat(part, dir_fd=handle, follow_symlinks=False)
            if info.st_uid not in (0, os.getuid()):
                raise _RefusedError(f"{path}: {part!r} in it belongs to another user; set XPNET_CACHE_DIR")
            if stat.S_ISLNK(info.st_mode):
                links += 1
                if links > _LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                target = os.readlink(part, dir_fd=handle)
                parts += _parts(target)
                part = "/" if target.startswith("/") else "."
            new = os.open(part, directory | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle = new
            info = os.fstat(handle)
            # In a folder such as /tmp, everybody may make files, but rename or remove their own only.
            closed = not info.st_mode & 0o022 or (info.st_mode & stat.S_ISVTX and parts)
            if info.st_uid not in (0, os.getuid()) or not closed:
                raise _RefusedError(
                    f"{path}: others may write to {part!r} in it; chmod go-w, or set XPNET_CACHE_DIR"
                )
        return handle
    except BaseException:
        os.close(handle)
        raise


def _parts(path: str) -> list[str]:
    """Return the parts of a path, the first one last."""
    return [part for part in reversed(path.split("/")) if part]


def _is_there(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True

"""A model of a disk that forgets: what is there after each event if the machine fails then."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Tree = dict[str, bytes]


class Disk:
    """Watches what a command does to a folder.

    Attributes:
        states: the different trees of files, by path, that a failure can leave, in the order of the events:
            as a killed process leaves them; with what was flushed alone; with new names of what was flushed.
        events: how many there were: files opened, written, flushed, renamed and removed.
    """

    def __init__(self, folder: Path):
        self.folder, self.states, self.events = folder.resolve(), list[Tree](), 0
        self._content: dict[int, bytes] = {}  # flushed, by inode
        self._names: dict[str, int] = {}  # flushed: inodes by path
        for path, inode in self._found().items():  # what was there before is on the disk
            self._content[inode] = (self.folder / path).read_bytes()
            self._names[path] = inode

    def _found(self) -> dict[str, int]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.stat().st_ino for path in files}

    def _note(self) -> None:
        self.events += 1
        now = self._found()
        for tree in (
            {path: (self.folder / path).read_bytes() for path in now},
            {path: self._content.get(inode, b"") for path, inode in self._names.items()},
            {path: self._content.get(inode, b"") for path, inode in now.items()},
        ):
            if tree not in self.states:
                self.states.append(tree)

    def _flushed(self, handle: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if place.is_dir():

            def inside(names: dict[str, int], wanted: bool) -> dict[str, int]:
                return {n: i for n, i in names.items() if ((self.folder / n).parent == place) == wanted}

            self._names = inside(self._names, False) | inside(self._found(), True)
        else:
            self._forget(os.fstat(handle).st_ino)
            self._content[os.fstat(handle).st_ino] = place.read_bytes()

    def _forget(self, inode: int) -> None:
        """Keep the content of a removed file whose name may still be on the disk: its inode is used again."""
        now, old = self._found(), -1 - len(self._content)
        gone = [path for path, number in self._names.items() if number == inode and now.get(path) != inode]
        self._content.update({old: self._content.get(inode, b"")} if gone else {})
        self._names.update(dict.fromkeys(gone, old))

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Inside this context events are noted."""
        fsync = os.fsync

        def flush(handle: int) -> None:
            fsync(handle)
            self._flushed(handle)

        with intercepted(fsync=flush, after=lambda name: self._note()):
            yield


@contextlib.contextmanager
def failing(at: int) -> Iterator[list[str]]:
    """Let the event of that number fail for want of space; yield the names of all events, which grow."""
    seen: list[str] = []

    def fail(name: str) -> None:
        if name != "unlink":  # which needs no space
            seen.append(name)
            if len(seen) == at + 1:
                raise OSError(errno.ENOSPC, "No space left on device")

    with intercepted(before=fail):
        yield seen


def _nothing(name: str) -> None:
    pass


@contextlib.contextmanager
def intercepted(
    *,
    before: Callable[[str], None] = _nothing,
    after: Callable[[str], None] = _nothing,
    fsync: Callable[[int], None] = os.fsync,
) -> Iterator[None]:
    """Call functions with the name of each event of the file system, before and after it happens.

    Args:
        before: may raise an error, as if the event had failed.
        after: likewise.
        fsync: what happens in place of `os.fsync`.
    """
    names = ("fsync", "replace", "unlink", "write", "open")
    kept = {name: getattr(os, name) for name in names}
    mkstemp, fdopen = tempfile.mkstemp, os.fdopen

    def wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return function(*arguments, **options)
            before(name)
            found = function(*arguments, **options)
            after(name)
            return found

        return call

    def opened(*arguments: Any, **options: Any) -> Any:
        file = fdopen(*arguments, **options)
        file_like: Any = _Watched(file, before, after)
        return file_like if "b" in file.mode and file.writable() else file

    for name in names:
        setattr(os, name, wrapped(name, fsync if name == "fsync" else kept[name]))
    tempfile.mkstemp, os.fdopen = wrapped("mkstemp", mkstemp), opened
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(os, name, function)
        tempfile.mkstemp, os.fdopen = mkstemp, fdopen


class _Watched:
    """A file whose writes are events, each of which arrives at once."""

    def __init__(self, file: Any, before: Callable[[str], None], after: Callable[[str], None]):
        self._file, self._before, self._after = file, before, after

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes) -> int:
        """Write, as an event."""
        self._before("write")
        written = self._file.write(content)
        self._file.flush()
        self._after("write")
        return int(written)

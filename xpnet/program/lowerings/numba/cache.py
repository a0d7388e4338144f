"""Cache of numba's compiled code, kept between processes.

numba keeps machine code beside the source file of a function, and finds it by the file's name, date and
size. So generated source is written to a folder of the user's, under a name made of its hash and of
everything else that it depends on. What runs is always the source in memory; the file is there for numba.

Whoever can write to that folder can have code run, as with Python's own ``__pycache__``. So the folder is
used only if it belongs to the user and nobody else may write to it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np

from xpnet.program.lowerings.numba import barrier, functions, intrinsics

__all__ = ["cache_folder", "digest_of", "kept_source"]

_KEPT = 200  # programs


@functools.cache
def cache_folder() -> Path | None:
    """Return the folder of compiled programs, made if need be; None if there can be none.

    ``XPNET_CACHE_DIR``, else ``xpnet`` in the user's folder for caches; none if the variable is empty.
    """
    chosen = os.environ.get("XPNET_CACHE_DIR")
    if chosen == "":
        return None
    try:
        folder = (Path(chosen) if chosen else _caches() / "xpnet") / "numba"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if _is_ours(folder) else None
    except (OSError, RuntimeError):  # no home, or no room in it
        return None


def _caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _is_ours(folder: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    info = folder.stat()
    return info.st_uid == os.getuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@functools.cache
def _depends_on() -> str:
    versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
    modules: tuple[Any, ...] = (barrier, functions, intrinsics)
    return "\n".join([*versions, *(Path(m.__file__).read_text(encoding="utf-8") for m in modules)])


def digest_of(source: str) -> str:
    """Return a name for compiled source, and for all that its machine code depends on."""
    return hashlib.sha256(f"{_depends_on()}\n{source}".encode()).hexdigest()[:32]


def kept_source(source: str, digest: str) -> str | None:
    """Return the path of a file with this source, for numba's cache; None if there is no folder for it."""
    folder = cache_folder()
    if folder is None:
        return None
    path = folder / f"program_{digest}.py"
    try:
        if not path.exists() or path.read_text(encoding="utf-8") != source:
            _forget_oldest(folder)
            _write(path, source)
        return str(path)
    except OSError:
        return None


def _write(path: Path, text: str) -> None:
    """Write a file that is there as a whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(name, path)


def _forget_oldest(folder: Path) -> None:
    sources = sorted(folder.glob("program_*.py"), key=lambda path: path.stat().st_mtime)
    for source in sources[: max(0, len(sources) - _KEPT)]:
        for path in (source, *(folder / "__pycache__").glob(f"{source.stem}.*")):
            with contextlib.suppress(OSError):
                path.unlink()

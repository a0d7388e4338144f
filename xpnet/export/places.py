"""Files and folders that an export writes: whole or not at all, and never over others unless asked."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from xpnet.errors import ConfigError, because, use
from xpnet.files import flush_folder, write_atomically

__all__ = ["write_file", "write_folder"]


def write_file(path: str | os.PathLike[str], content: bytes, *, overwrite: bool) -> Path:
    """Write a file under a temporary name, flush it, and rename it.

    Raises:
        ConfigError: there is one already and ``overwrite`` is False, or it cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise ConfigError(f"export: expected a file, found the folder '{path}'; name a file")
    _check_free(path, overwrite)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ConfigError(f"export: '{path}' cannot be written: {because(error)}") from error
    return path


def write_folder(path: str | os.PathLike[str], files: Mapping[str, bytes], *, overwrite: bool) -> Path:
    """Write a folder of files under a temporary name, flush them, and rename it.

    Raises:
        ConfigError: there is one already and ``overwrite`` is False, it holds other files than an export
            has, or it cannot be written.
    """
    path = Path(path)
    _check_free(path, overwrite)
    if os.path.lexists(path):
        inside = sorted(x.name for x in path.iterdir()) if path.is_dir() else [path.name]
        # what Python itself makes of the code in it
        others = [name for name in inside if name not in (*files, "__pycache__")]
        if others:
            raise ConfigError(
                f"export: expected in '{path}' the files of an export alone, found {others[0]}; move it "
                "away, or choose another folder"
            )
    made = None
    try:
        made = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", suffix=".tmp", dir=path.parent))
        made.chmod(0o777 & ~_umask())
        for name, content in files.items():
            write_atomically(made / name, content)
        if os.path.lexists(path):
            old = made / "old"
            os.replace(path, old)
            shutil.rmtree(old)
        os.replace(made, path)
        flush_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"export: '{path}' cannot be written: {because(error)}") from error
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
    return path


def _check_free(path: Path, overwrite: bool) -> None:
    if os.path.lexists(path) and not overwrite:
        raise ConfigError(
            f"export: '{path}' exists already; use {use('overwrite', True)}, or choose another name"
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

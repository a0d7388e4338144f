"""Checkpoints: one safetensors file with everything that training needs to go on.

The file holds host arrays (made on a GPU, opened on a laptop) and, in its header, a JSON description:
format version, model, loss, optimizer, settings, counters, history, and checksums of all of it. It is
written to a temporary name, flushed and renamed; reading it can never run code.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.errors import CheckpointError, because
from xpnet.files import write_atomically

__all__ = ["FORMAT", "flatten", "read", "unflatten", "write"]

FORMAT = 1


def write(path: str | os.PathLike[str], arrays: dict[str, np.ndarray], description: dict[str, Any]) -> None:
    """Write host arrays and a JSON description, atomically.

    Raises:
        CheckpointError: the file cannot be written (a full disk, say); an older file stays as it was.
    """
    from safetensors.numpy import save

    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    sums = {name: _checksum(array) for name, array in arrays.items()}
    text = json.dumps({"format": FORMAT, "checksums": sums, **description})
    try:
        write_atomically(
            path, save(arrays, metadata={"xpnet": text, "crc32": str(zlib.crc32(text.encode()))})
        )
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path}: cannot be written: {because(error)}; what was there before is unchanged"
        ) from error


def _checksum(array: np.ndarray) -> int:
    """Return a checksum of dtype, shape and content: bytes read as another dtype are another array."""
    return zlib.crc32(
        array.reshape(-1).view(np.uint8).data, zlib.crc32(f"{array.dtype} {array.shape}".encode())
    )


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the description of a checkpoint.

    Raises:
        CheckpointError: no such file, not a checkpoint, made by a newer version, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "none"
        raise CheckpointError(
            f"checkpoint {path}: expected a file, found {found}; is this the folder of a run?"
        )
    try:
        metadata, arrays = _read(path)
    except OSError as error:
        raise CheckpointError(f"checkpoint {path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # what a damaged header makes the reader raise depends on where it is damaged
        raise _damaged(path, str(error)) from error
    text = metadata.get("xpnet")
    if text is None:
        raise CheckpointError(
            f"checkpoint {path}: expected a file written by xpnet, found another's tensors; "
            "pass what Trainer.save wrote"
        )
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    _check_format(path, header)
    if metadata.get("crc32") != str(zlib.crc32(text.encode())):
        raise _damaged(path, "its description is not what was written")
    sums = header.pop("checksums", {})
    for name in sorted({*arrays, *sums}):
        if name not in arrays or _checksum(arrays[name]) != sums.get(name):
            raise _damaged(path, f"array {name!r} is not what was written")
    return arrays, header


def _read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)


def _damaged(path: Path, how: str) -> CheckpointError:
    return CheckpointError(f"checkpoint {path}: is damaged ({how}); take another checkpoint of the run")


def _check_format(path: Path, header: Any) -> None:
    found = header.get("format") if isinstance(header, dict) else None
    if not isinstance(found, int):
        raise _damaged(path, "no format number")
    if found > FORMAT:
        raise CheckpointError(
            f"checkpoint {path}: expected format {FORMAT} or older, found format {found}; it was written by "
            "a newer xpnet: pip install --upgrade xpnet"
        )


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested dicts by dotted names.

    >>> flatten({"0": {"mean": 1, "variance": 2}}, "state")
    {'state.0.mean': 1, 'state.0.variance': 2}
    """
    if not isinstance(tree, dict):
        return {prefix: tree}
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found.update(flatten(value, f"{prefix}.{name}" if prefix else str(name)))
    return found


def unflatten(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the nested dicts whose leaves :func:`flatten` named with ``prefix``."""
    root: dict[str, Any] = {}
    for name, value in arrays.items():
        if name.startswith(f"{prefix}."):
            *path, last = name.removeprefix(f"{prefix}.").split(".")
            inner = root
            for part in path:
                inner = inner.setdefault(part, {})
            inner[last] = value
    return root

"""Checkpoints: one safetensors file with everything that training needs to go on.

The file holds host arrays (made on a GPU, opened on a laptop) and, in its header, a JSON description:
format version, model, loss, optimizer, settings, counters, history, and a SHA-256 of each array. It is
written to a temporary name, flushed and renamed; reading it can never run code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from xpnet.checks import short_repr
from xpnet.errors import CheckpointError, because
from xpnet.files import open_regular, write_atomically
from xpnet.schema import DAMAGE, parse

__all__ = ["FORMAT", "flatten", "read", "read_description", "unflatten", "write"]

FORMAT = 1
_MOST_HEADER = 10**8  # bytes, as the format of safetensors says


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


def _checksum(array: np.ndarray) -> str:
    """Return the SHA-256 of dtype, shape and content: bytes read as another dtype are another array."""
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _is_written(array: np.ndarray, checksum: Any) -> bool:
    """Whether an array has a checksum; older files have CRC-32, a number."""
    if isinstance(checksum, int):
        content = array.reshape(-1).view(np.uint8).data
        return checksum == zlib.crc32(content, zlib.crc32(f"{array.dtype} {array.shape}".encode()))
    return bool(checksum == _checksum(array))


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the description of a checkpoint, to which ``path`` may be a link.

    Raises:
        CheckpointError: no such file, not a checkpoint, made by a newer version, or damaged.
    """
    from safetensors.numpy import load

    path = Path(path)
    with _opened(path) as file:
        header = _described(path, file)
        file.seek(0)
        content = file.read()
    try:
        found = load(content)
        arrays = {name: found[name] for name in sorted(found)}
    except Exception as error:  # what a damaged header makes the reader raise depends on where it is damaged
        raise _damaged(path, str(error)) from error
    sums = header.pop("checksums", {})
    if not isinstance(sums, dict):
        raise _damaged(path, "no checksums")
    for name in sorted({*arrays, *sums}):
        if name not in arrays or not _is_written(arrays[name], sums.get(name)):
            raise _damaged(path, f"array {short_repr(name)} is not what was written")
    return arrays, header


def read_description(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the description of a checkpoint, no link to one, without its arrays; raises as `read` does."""
    path = Path(path)
    with _opened(path, follow=False) as file:
        header = _described(path, file)
    header.pop("checksums", None)
    return header


@contextlib.contextmanager
def _opened(path: Path, *, follow: bool = True) -> Iterator[IO[bytes]]:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "none"
        raise CheckpointError(
            f"checkpoint {path}: expected a file, found {found}; is this the folder of a run?"
        )
    try:
        with open_regular(path, follow=follow) as file:
            yield file
    except OSError as error:
        raise CheckpointError(f"checkpoint {path}: cannot be read: {because(error)}") from error


def _described(path: Path, file: IO[bytes]) -> dict[str, Any]:
    """Return the description in the header of a file: its length in 8 bytes, then JSON."""
    length, size = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
    try:
        if not 2 <= length <= min(size - 8, _MOST_HEADER):
            raise ValueError(f"its header is of {length} bytes, the file of {size}")
        metadata = parse(file.read(length)).get("__metadata__", {})
        text = metadata.get("xpnet")
    except DAMAGE as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(text, str):
        raise CheckpointError(
            f"checkpoint {path}: expected a file written by xpnet, found another's tensors; "
            "pass what Trainer.save wrote"
        )
    try:
        header = parse(text.encode(), finite=False)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    _check_format(path, header)
    if metadata.get("crc32") != str(zlib.crc32(text.encode())):
        raise _damaged(path, "its description is not what was written")
    return dict(header)


def _damaged(path: Path, how: str) -> CheckpointError:
    return CheckpointError(f"checkpoint {path}: is damaged ({how}); take another checkpoint of the run")


def _check_format(path: Path, header: Any) -> None:
    found = header.get("format") if isinstance(header, dict) else None
    if not isinstance(found, int):
        raise _damaged(path, "no format number")
    if found > FORMAT:
        raise CheckpointError(
            f"checkpoint {path}: expected format {FORMAT} or older, found format {found}; it was written by "
            "a newer xpnet: update this one"
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

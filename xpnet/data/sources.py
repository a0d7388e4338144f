"""Bytes of tables: of the standard input, and of packed files, which unpack to a limited size."""

from __future__ import annotations

import functools
import gzip
import importlib
import io
import sys
import zlib
from typing import Any

from xpnet.errors import ConfigError, DataError, memory_in_words

__all__ = ["STDIN", "check_unpacked", "standard_input", "unpacked"]

STDIN = "-"
"""The name of the standard input."""

_UNPACKED = 2**27  # bytes that any packed file may unpack to; a larger one to so many times its size
_TIMES = 32
_STEP = 1024  # bytes that are unpacked at a time, to 44 MiB at the most


def check_unpacked(name: str, size: int, unpacked: int, advice: str) -> None:
    """Raise a `DataError` if a file of ``size`` bytes unpacks to more than 128 MiB and 32 times its size.

    Args:
        name: of the file.
        size: of the file in bytes.
        unpacked: bytes that it unpacks to.
        advice: what to do about it.
    """
    most = _most(size)
    if unpacked > most:
        raise DataError(
            f"'{name}' has {memory_in_words(size)} and would unpack to {memory_in_words(unpacked)}; at most "
            f"{memory_in_words(most)} are unpacked: {advice}"
        )


def _most(size: int) -> int:
    return max(_UNPACKED, _TIMES * size)


def unpacked(name: str, data: bytes, packing: str) -> bytes:
    """Return the content of a file packed by "gzip" or "zstd".

    Raises:
        DataError: it is damaged, or unpacks to more than 128 MiB and 32 times its size.
        ConfigError: there is no package that unpacks zstd.
    """
    most = _most(len(data))
    opened = gzip.GzipFile(fileobj=io.BytesIO(data)) if packing == "gzip" else _zstd(name, data)
    try:
        with opened as file:
            content: bytes = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"'{name}' is no readable {packing} file (damaged or cut off?): {error}") from None
    except Exception as error:
        if type(error).__name__ != "ZstdError":
            raise
        raise DataError(f"'{name}' is no readable {packing} file (damaged or cut off?): {error}") from None
    if len(content) > most:
        raise DataError(
            f"'{name}' has {memory_in_words(len(data))} and unpacks to more than {memory_in_words(most)}, "
            "which is not done: unpack it yourself, or save it as Parquet"
        )
    return content


def _zstd(name: str, data: bytes) -> Any:
    """Return a reader of a file packed by zstd, by Python's own module (from 3.14 on) or zstandard."""
    try:
        return importlib.import_module("compression.zstd").ZstdFile(io.BytesIO(data))
    except ImportError:
        pass
    try:
        return _Frames(importlib.import_module("zstandard"), data)
    except ImportError:
        raise ConfigError(
            f"reading '{name}' needs zstandard: pip install 'xpnet[zstd]'; or unpack it (zstd -d)"
        ) from None


class _Frames:
    """A reader of the frames in a file packed by zstd; a file that ends within one is an error."""

    def __init__(self, zstandard: Any, data: bytes):
        self.zstandard, self.data = zstandard, data

    def __enter__(self) -> _Frames:
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing: there is nothing to close."""

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, or a little more."""
        parts, got, place = [], 0, 0
        frame = self.zstandard.ZstdDecompressor().decompressobj()
        while place < len(self.data) and got < size:
            step = self.data[place : place + _STEP]
            parts.append(frame.decompress(step))
            got, place = got + len(parts[-1]), place + len(step)
            if frame.eof:
                place -= len(frame.unused_data)
                if place < len(self.data):
                    frame = self.zstandard.ZstdDecompressor().decompressobj()
        if got < size and not frame.eof:
            raise EOFError("it ends within a frame")
        return b"".join(parts)


@functools.lru_cache(1)
def standard_input() -> bytes:
    """Return all of the standard input; it is kept, since it can be read only once.

    Raises:
        DataError: it is a terminal, closed or cannot be read.
    """
    stream = sys.stdin
    if stream is None or stream.closed or stream.isatty():
        raise DataError(
            "'-' is the standard input, and nothing is piped into it: name a file, or use cat table.csv | ..."
        )
    try:
        return bytes(stream.buffer.read())
    except OSError as error:
        raise DataError(f"the standard input cannot be read: {error}") from error

"""NPY and NPZ files, of which nothing is unpacked before its header is compared with what is stored."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from xpnet.data.sources import check_unpacked
from xpnet.errors import DataError
from xpnet.files import open_regular
from xpnet.text import visible

__all__ = ["load_numpy"]


def load_numpy(path: str, source: Path | bytes) -> np.ndarray | dict[str, np.ndarray]:
    """Return the array of an NPY file, or those of an NPZ file by name; nothing that is pickled is ever read.

    Args:
        path: of the file, for messages.
        source: the file, or its bytes.

    Raises:
        DataError: it is no such file, damaged, or unpacks to more than 128 MiB and 32 times its size.
        OSError: it cannot be read.
    """
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open_regular(source, follow=True) as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            if file.read(4) != b"PK\x03\x04":
                file.seek(0)
                return _read(file, size)
            with zipfile.ZipFile(file) as archive:
                return _read_archive(path, archive, size)
    except (OSError, DataError):
        raise
    except Exception as error:  # damaged headers raise whatever zipfile, zlib or Python's tokenizer do
        if "allow_pickle" in str(error) or "pickled" in str(error) or "magic string" in str(error):
            raise DataError(
                f"'{path}' holds Python objects or is no NumPy file; pickled data is never read: "
                "save arrays of numbers or of text (dtype 'U') with np.save or np.savez"
            ) from None
        raise DataError(
            f"'{path}' is no readable NumPy file (damaged or cut off?): {visible(str(error))}"
        ) from None


def _read_archive(path: str, archive: zipfile.ZipFile, size: int) -> dict[str, np.ndarray]:
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    check_unpacked(path, size, unpacked, "save it without compression (np.savez), or in parts")
    arrays: dict[str, np.ndarray] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name == member.filename:
            raise DataError(
                f"'{path}': '{visible(name)}' is no NumPy array; an NPZ file holds arrays saved by np.savez"
            )
        if name in arrays:
            raise DataError(f"'{path}': array '{visible(name)}' is there twice; rename one")
        with archive.open(member) as file:
            arrays[name] = _read(file, member.file_size)
    return arrays


def _read(file: IO[bytes], size: int) -> np.ndarray:
    """Return the array in a file of ``size`` bytes, once its header says that it has as many."""
    version = np.lib.format.read_magic(file)
    read_header: Any = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version, np.lib.format.read_array_header_2_0)  # 3.0 differs in the encoding of names of fields
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("Python objects, which are pickled")
    found, expected = size - file.tell(), math.prod(shape) * max(1, dtype.itemsize)
    if found != expected or min(shape, default=0) < 0:
        raise ValueError(f"its header says {expected} bytes of shape {shape}, {found} are there")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)

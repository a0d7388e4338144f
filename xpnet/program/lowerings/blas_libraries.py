"""BLAS libraries whose matrix products compiled code calls by address: a table, the choice, their threads.

NumPy's wheels bring an OpenBLAS, which NumPy itself calls; Intel's MKL may be installed beside it. Compiled
code is given the addresses at each call and has none in it, so that code kept between processes serves both.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import blas
from xpnet.errors import ConfigError, suggest

__all__ = [
    "LIBRARIES",
    "Choice",
    "Library",
    "Loaded",
    "choice",
    "gemm_addresses",
    "load",
    "one_thread",
    "threads",
    "threads_outside",
]

_SEQUENTIAL, _SAME_BITS = 1, 2  # MKL_THREADING_SEQUENTIAL and MKL_CBWR_AUTO of mkl_service.h and mkl_types.h


@dataclass(frozen=True)
class Library:
    """A BLAS that can be loaded: a row of the table.

    Attributes:
        title: its name for people.
        files: where it may be; the first one that has all functions is loaded.
        gemm: names of cblas_sgemm and cblas_dgemm with 64-bit sizes, with ``{}`` for their first letter.
        get_threads: name of the C function that returns how many threads it has.
        set_threads: name of the C function that sets them.
        missing: why it may not be found, and the remedy.
        prepare: called with the library once, unless somebody else in this process has loaded it before.
    """

    title: str
    files: Callable[[], list[Path]]
    gemm: str
    get_threads: str
    set_threads: str
    missing: str
    prepare: Callable[[ctypes.CDLL], None] = lambda library: None


@dataclass(frozen=True)
class Loaded:
    """Addresses of cblas_sgemm and cblas_dgemm of a library, and functions that get and set its threads."""

    gemm: tuple[int, int]
    get_threads: Any
    set_threads: Any


@dataclass(frozen=True)
class Choice:
    """The library that compiled code calls in this process, by its name in the table, and why.

    The name is empty if there is none: products are calls of NumPy then.
    """

    name: str
    reason: str


def _files_of_numpy() -> list[Path]:
    base = Path(np.__file__).parent
    folders = (base.parent / "numpy.libs", base / ".dylibs")
    return [path for folder in folders for path in sorted(folder.glob("*openblas64_*"))]


def _files_of_mkl() -> list[Path]:
    """Return where pip has put MKL, and where conda does."""
    try:
        found = importlib.metadata.files("mkl") or []
    except importlib.metadata.PackageNotFoundError:
        found = []
    paths = [Path(str(file.locate())) for file in found if file.name.startswith(("libmkl_rt", "mkl_rt"))]
    root = Path(sys.prefix)
    paths += [*sorted(root.glob("lib/libmkl_rt.*")), *sorted(root.glob("Library/bin/mkl_rt*.dll"))]
    return [path.resolve() for path in paths if path.exists()]


def _keep_to_our_threads(library: ctypes.CDLL) -> None:
    """Have MKL compute in the threads that call it, with the same bits in every run.

    It can be said only before MKL's first use. MKL would bring a pool of threads and an OpenMP of its own
    otherwise, and its bits would depend on where arrays lie in memory. An environment variable for its
    threads (MKL_THREADING_LAYER) does not count then.
    """
    library.MKL_Set_Threading_Layer(_SEQUENTIAL)
    library.MKL_CBWR_Set(_SAME_BITS)


LIBRARIES: dict[str, Library] = {
    "openblas": Library(
        "NumPy's OpenBLAS",
        _files_of_numpy,
        "scipy_cblas_{}gemm64_",
        "scipy_openblas_get_num_threads64_",
        "scipy_openblas_set_num_threads64_",
        "NumPy does not bring an OpenBLAS of its own here; its wheels on PyPI do",
    ),
    "mkl": Library(
        "Intel's MKL",
        _files_of_mkl,
        "cblas_{}gemm_64",
        "MKL_Get_Max_Threads",
        "MKL_Set_Num_Threads",
        "MKL of 2022 or later is not installed; pip install mkl",
        _keep_to_our_threads,
    ),
}
"""By name, as in ``XPNET_BLAS``. One more library is one more row."""


_loading = threading.Lock()  # one thread loads and prepares a library, before another one uses it


def load(name: str) -> Loaded | None:
    """Return a library of the table; None if it cannot be loaded."""
    with _loading:
        return _load(name)


@functools.cache
def _load(name: str) -> Loaded | None:
    row = LIBRARIES[name]
    for path in row.files():
        in_use = _is_loaded(path)
        try:
            library = ctypes.CDLL(str(path))
            found = [getattr(library, row.gemm.format(kind)) for kind in "sd"]
            get, change = getattr(library, row.get_threads), getattr(library, row.set_threads)
        except (OSError, AttributeError):
            continue
        if not in_use:
            row.prepare(library)
        single, double = (ctypes.cast(f, ctypes.c_void_p).value or 0 for f in found)
        return Loaded((single, double), get, change)
    return None


def _is_loaded(path: Path) -> bool:
    """True if somebody else uses a library in this process, as NumPy does the one that it is linked with."""
    if not hasattr(os, "RTLD_NOLOAD"):  # on Windows
        return False
    try:
        ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return False
    return True


@functools.cache
def choice() -> Choice:
    """Return the library that compiled code calls: chosen once for the process, without measurement.

    ``XPNET_BLAS``, else MKL on processors of Intel, if it is installed, else NumPy's OpenBLAS.

    Raises:
        ConfigError: ``XPNET_BLAS`` names no library, or one that cannot be loaded.
    """
    asked = os.environ.get("XPNET_BLAS")
    if asked:
        if asked not in LIBRARIES:
            known = " or ".join(LIBRARIES)
            raise ConfigError(f"XPNET_BLAS: expected {known}, found {asked!r}{suggest(asked, LIBRARIES)}")
        if load(asked) is None:
            raise ConfigError(f"XPNET_BLAS={asked}: {LIBRARIES[asked].missing}, or unset XPNET_BLAS")
        return Choice(asked, f"XPNET_BLAS={asked}")
    intel = blas.vendor() == "GenuineIntel"
    if intel and load("mkl") is not None:
        return Choice("mkl", "the processor is one of Intel's")
    if load("openblas") is not None:
        return Choice(
            "openblas", LIBRARIES["mkl"].missing if intel else "the processor is not one of Intel's"
        )
    return Choice("", LIBRARIES["openblas"].missing)


def _loaded() -> list[Loaded]:
    """Return the library that is called, and the one that NumPy calls."""
    return _loaded_with(choice().name)


@functools.cache
def _loaded_with(name: str) -> list[Loaded]:
    found = (load(each) for each in dict.fromkeys(("openblas", name)) if each)
    return [library for library in found if library is not None]


def gemm_addresses() -> tuple[int, int]:
    """Return the addresses of the 64-bit cblas_sgemm and cblas_dgemm, or zeros."""
    library = load(choice().name) if choice().name else None
    return library.gemm if library is not None else (0, 0)


def threads() -> int:
    """Return how many threads the BLAS has, NumPy's or the one that is called; 1 if none can be asked."""
    return max((1, *(library.get_threads() for library in _loaded())))


_outside = 1  # threads of the BLAS outside of `one_thread`, while it is kept to one


def threads_outside() -> int:
    """Return how many threads the BLAS has when it is not kept to one."""
    return max(_outside, threads())


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep the BLAS, NumPy's and the one that is called, to one thread."""
    global _outside
    changed = [(library, n) for library in _loaded() if (n := library.get_threads()) > 1]
    for library, before in changed:
        _outside = max(_outside, before)
        library.set_threads(1)
    try:
        yield
    finally:
        for library, before in changed:
            library.set_threads(before)
            _outside = 1

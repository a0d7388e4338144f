"""Errors planted one at a time in a copy of the tree: each must be seen by the everyday tests named with it.

    python -m scripts.planted_errors [word ...]      those whose area or file holds a word; all without one

Ends with 1 if an error is not seen, or its place is not there any more. It takes some ten minutes; run it
after a change of the tests, to see that they are as sharp as before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Planted(NamedTuple):
    """An error.

    Attributes:
        area: rules, lowerings, trainer or flags.
        file: in ``xpnet/``.
        right: text of the file, which is there once.
        wrong: what is planted in its place.
        tests: arguments of pytest.
    """

    area: str
    file: str
    right: str
    wrong: str
    tests: str


TABLE = Path(__file__).with_suffix(".toml")


def planted_errors() -> list[Planted]:
    """Return the errors of the table."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return [Planted(area, **row) for area, rows in table.items() for row in rows]


def main(words: list[str]) -> int:
    """Plant the errors that the words name; return how many were not seen."""
    chosen = [p for p in planted_errors() if not words or any(word in (p.area, p.file) for word in words)]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        listed = ["git", "ls-files", "-z"]
        files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True)
        for name in filter(None, files.stdout.split("\0")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
        for planted in chosen:
            path, began = tree / "xpnet" / planted.file, time.perf_counter()
            text = path.read_text()
            verdict = f"its place is there {text.count(planted.right)} times"
            if text.count(planted.right) == 1:
                path.write_text(text.replace(planted.right, planted.wrong))
                verdict = _verdict(tree, planted.tests)
                path.write_text(text)
            missed += verdict != "seen"
            seconds = time.perf_counter() - began
            what = f"{planted.area}: {planted.file}: {planted.wrong.strip()[:60]!r}"
            print(f"{what}: {verdict}, {seconds:.0f} s", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} seen")
    return missed


def _verdict(tree: Path, tests: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    return {0: "NOT SEEN", 1: "seen"}.get(done.returncode, f"pytest ended with {done.returncode}")


if __name__ == "__main__":
    raise SystemExit(min(1, main(sys.argv[1:])))

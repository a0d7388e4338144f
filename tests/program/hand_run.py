"""Long runs by hand: ``python -m tests.program.hand_run flips|fits|shapes COUNT``, which prints counts.

``flips`` changes a bit of the compiled code that is kept, or of its key, and compares what is computed then;
a crash ends the process. ``fits`` trains on the same shapes again and again, ``shapes`` on new ones, and both
say by how much the process grew.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.program.test_kept_code import computed, flipped
from xpnet import Trainer, nn, optim
from xpnet.program.lowerings.numba import compiling, object_code

__all__ = ["flips", "growth"]


def flips(count: int) -> str:
    """Return counts of bit flips: recompiled, loaded all the same, and with other numbers."""
    want, draw, compilations = computed(), np.random.default_rng(0), [0]
    compiled = object_code.compiled

    def counted(*args: object) -> object_code.ObjectCode:
        compilations[0] += 1
        return compiled(*args)

    object_code.compiled = counted
    files = sorted(Path(os.environ["XPNET_CACHE_DIR"]).rglob("*"))
    files = [path for path in files if path.is_file()]
    sizes = np.cumsum([8 * path.stat().st_size for path in files])
    others = 0
    for i in range(count):
        # Every fourth in what is no code: the heads of files, and the key.
        bit = int(draw.integers(0, sizes[-1] if i % 4 else 8 * 400))
        at = int(np.searchsorted(sizes, bit, side="right")) if i % 4 else i // 4 % len(files)
        bit = bit - (int(sizes[at - 1]) if at else 0) if i % 4 else bit % (8 * files[at].stat().st_size)
        flipped(files[at], bit)
        found = computed()  # which writes the files anew
        others += any(a.tobytes() != b.tobytes() for a, b in zip(found, want, strict=True))
        if (i + 1) % 100 == 0:
            print(i + 1, compilations[0], others, file=sys.stderr, flush=True)
    return f"{count} flips: {compilations[0]} compiled anew, {others} with other numbers"


def growth(count: int, *, new: bool) -> float:
    """Return by how many MB the process grew in so many fits, after as many as there are programs kept."""
    compiling._MOST = 16
    draw = np.random.default_rng(0)
    widths = 5 + draw.permutation(30 + count) * new
    X = draw.normal(size=(64, 4)).astype("float32")
    y = (X[:, 0] > 0).astype(int)

    def fit(width: int) -> None:
        optimizer, loss = optim.Adam(1e-3), "softmax_cross_entropy"
        model = nn.MLP([width], 2)
        Trainer(model, loss, optimizer, progress=False, backend="numpy", compile="numba").fit(
            X, y, epochs=1, batch_size=16
        )

    for i in range(30):
        fit(int(widths[i]))
    gc.collect()
    before = _resident()
    for i in range(count):
        fit(int(widths[30 + i]))
    gc.collect()
    return _resident() - before


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    logging.getLogger("xpnet").setLevel(logging.ERROR)
    what, many = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as kept:
        os.environ["XPNET_CACHE_DIR"] = kept
        if what == "flips":
            print(flips(many))
        else:
            print(f"{many} {what}: grew by {growth(many, new=what == 'shapes'):.1f} MB")

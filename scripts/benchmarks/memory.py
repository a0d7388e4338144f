"""How much memory of a process is resident, now and at the most, as Linux tells it."""

from __future__ import annotations

import gc
import time
from pathlib import Path

from scripts.benchmarks.contestants import Contestant, Training
from scripts.benchmarks.works import OPTIMIZERS, Work

__all__ = ["expected_bytes", "measure_memory", "unmeasurable"]

_WARM_UP = 2.0  # seconds; xpnet's trainer goes over to compiled loops within them
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def unmeasurable() -> str | None:
    """Return why memory cannot be measured here, or None."""
    try:
        _clear_peak()
        _status("VmHWM")
    except (OSError, StopIteration) as error:
        return f"needs Linux's /proc/self/clear_refs ({error})"
    return None


def measure_memory(contestant: Contestant, work: Work, optimizer: str) -> dict[str, float]:
    """Train a work in this process, which must be a fresh one, and return bytes.

    ``"before"`` is resident when the library is warm (it has trained the miniature of the work) and the data
    are made, ``"built"`` some epochs on, when whatever is compiled is, and ``"peak"`` is the most during two
    further epochs. What a training step needs is the peak above ``"before"``: parameters, gradient, the
    optimizer's slots, the batch, activations, a copy of the data if there is one, and the BLAS's buffers.
    """
    chosen = OPTIMIZERS[optimizer]
    _warm_up(contestant.training(work.miniature(), chosen, "cpu"))
    kept = work.data()
    gc.collect()
    before = _status("VmRSS")
    training = contestant.training(work, chosen, "cpu")
    del kept
    _warm_up(training)
    gc.collect()
    built = _status("VmRSS")
    _clear_peak()
    training.run(2)
    return {"before": before, "built": built, "peak": _status("VmHWM")}


def expected_bytes(work: Work, slots: int) -> float:
    """Return parameters × (2 + slots) + 1.5 × activations, in bytes of float32.

    That is: parameters, gradient and slots, each activation once, and half of them a second time.
    """
    return 4 * (work.parameters * (2 + slots) + 1.5 * work.activations)


def _warm_up(training: Training) -> None:
    begun, done = time.perf_counter(), 0
    while done < 3 or time.perf_counter() - begun < _WARM_UP:
        training.run(1)
        done += 1


def _clear_peak() -> None:
    _CLEAR.write_text("5")  # sets VmHWM to what is resident now


def _status(field: str) -> int:
    """Return a line of ``/proc/self/status`` in bytes."""
    lines = _STATUS.read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])

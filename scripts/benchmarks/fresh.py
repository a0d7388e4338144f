"""What has to be measured in a fresh process for each contestant: peak memory, and the first call.

``python -m scripts.benchmarks.fresh memory|first CONTESTANT WORK OPTIMIZER DEVICE`` is such a process; it
ends with a line of JSON, and the functions of this file start it and read that line.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time

from scripts.benchmarks.contestants import CONTESTANTS
from scripts.benchmarks.memory import measure_memory
from scripts.benchmarks.works import OPTIMIZERS, Work

__all__ = ["FreshError", "first_call", "peak_memory"]


class FreshError(Exception):
    """The process failed; the message says why."""


def peak_memory(name: str, work: Work, optimizer: str) -> dict[str, float]:
    """Return what :func:`~scripts.benchmarks.memory.measure_memory` finds, in bytes.

    The allocator gives large arrays back to the system when they are freed: what is resident is in use.
    """
    return _ask("memory", name, work, optimizer, "cpu", {"MALLOC_MMAP_THRESHOLD_": "65536"})


def first_call(name: str, work: Work, optimizer: str, device: str, cache: str) -> dict[str, float]:
    """Return seconds: to import and build, of the first epoch, and of the best and worst one later.

    Args:
        name: of the contestant.
        work, optimizer, device: what it trains, and where.
        cache: folder for what is compiled, empty or filled by an earlier call.
    """
    folders = {"XPNET_CACHE_DIR": f"{cache}/xpnet", "TORCHINDUCTOR_CACHE_DIR": f"{cache}/torch"}
    return _ask("first", name, work, optimizer, device, folders)


def _ask(
    what: str, name: str, work: Work, optimizer: str, device: str, environment: dict[str, str]
) -> dict[str, float]:
    arguments = [what, name, json.dumps(dataclasses.asdict(work)), optimizer, device]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "scripts.benchmarks.fresh", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        raise FreshError(lines[-1])
    return json.loads(done.stdout.splitlines()[-1])


def _time_first_call(name: str, work: Work, optimizer: str, device: str) -> dict[str, float]:
    begun = time.perf_counter()
    training = CONTESTANTS[name].training(work, OPTIMIZERS[optimizer], device)
    built = time.perf_counter()
    training.run(1)
    ended = time.perf_counter()
    later: list[float] = []
    while len(later) < 5 or time.perf_counter() - ended < 1.0:
        start = time.perf_counter()
        training.run(1)
        later.append(time.perf_counter() - start)
    return {"build": built - begun, "first": ended - built, "later": min(later), "worst": max(later)}


def _main(what: str, name: str, text: str, optimizer: str, device: str) -> None:
    fields = json.loads(text)
    work = Work(**fields | {"sizes": tuple(fields["sizes"])})
    if what == "memory":
        found = measure_memory(CONTESTANTS[name], work, optimizer)
    else:
        found = _time_first_call(name, work, optimizer, device)
    print(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])

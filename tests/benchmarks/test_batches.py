"""Many derivatives at once: the benchmark of them runs. How fast is for ``scripts/bench --gradients``."""

from __future__ import annotations

import pytest

from scripts.benchmarks.batches import batch_calls


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch
def test_every_call_runs() -> None:
    for call in batch_calls().values():
        call()

"""Any event of the file system is the last one, or fails: what is there then goes on to the same bits."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import FAST
from tests.cli.disk import Disk, Tree, failing
from tests.cli.test_prune import assert_same_pruning
from tests.cli.test_resume import assert_same_run

TRAIN = ("train", "two-gaussians", "--out", "run", "--quiet", *FAST)
PRUNE = (
    "prune", "source", "--out", "run", "--sparsity", "0.5", "--rounds", "2", "--epochs", "1", "--tolerance",
    "none", "--quiet",
)  # fmt: skip
SOURCE = ("train", "two-gaussians", "--out", "source", "--quiet", *FAST)
BACK = ("resume", "run", "--from", "epoch-1", "--l2", "0.1", "--epochs", "3")

# name: (what was done before, the command that is cut short, what continues it)
SCENARIOS = {
    "train": ((), TRAIN, ("resume", "run")),
    "numbered": ((), (*TRAIN, "--epochs", "3", "--save-every", "1", "--keep-last", "2"), ("resume", "run")),
    "restarts": ((), (*TRAIN, "--restarts", "2"), ("resume", "run")),
    "resume": ((TRAIN,), ("resume", "run", "--epochs", "4"), ("resume", "run", "--epochs", "4")),
    "from": (((*TRAIN, "--save-every", "1"),), BACK, BACK),
    "prune": (
        (("train", "two-gaussians", "--out", "source", "--quiet", *FAST),),
        PRUNE,
        ("prune", "run", "--resume"),
    ),
}
USUAL = ("train",)
NAMES = [name if name in USUAL else pytest.param(name, marks=pytest.mark.full) for name in SCENARIOS]


def _apart(count: int, request: pytest.FixtureRequest) -> int:
    """Return how far apart tried events are; XPNET_EVERY_EVENT=1 has all tried, which takes ten minutes."""
    tried = count if os.environ.get("XPNET_EVERY_EVENT") else 6 if request.config.getoption("--full") else 3
    return max(1, count // tried)


def restore(tree: Tree, place: Path) -> None:
    """Make a folder hold the files of a tree and nothing else."""
    shutil.rmtree(place, ignore_errors=True)
    for folder in ("checkpoints", "figures"):
        (place / folder).mkdir(parents=True)
    for name, content in tree.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)


def prepared(xpnet, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    before, command, further = SCENARIOS[name]
    for one in before:
        assert xpnet(*one).code == 0
    return command, further


@pytest.mark.parametrize("name", NAMES)
def test_every_event_may_be_the_last(name, xpnet, folder, request):
    command, further = prepared(xpnet, name)
    Path("run").mkdir(exist_ok=True)
    disk = Disk(Path("run"))
    with disk.watched():
        assert xpnet(*command).code == 0
    shutil.copytree("run", "whole")
    every = _apart(len(disk.states), request)
    seen = {"nothing": 0, "continued": 0}
    for tree in disk.states[1::every]:
        restore(tree, Path("run"))
        outcome = xpnet(*further, "--quiet")
        if "config.toml" not in tree:
            assert (outcome.code, "no config.toml" in outcome.err) == (1, True)
            seen["nothing"] += 1
            continue
        finished = name == "prune" and outcome.code == 2 and "is finished" in outcome.err
        assert outcome.code == 0 or finished, (sorted(tree), outcome.err)
        (assert_same_pruning if name == "prune" else assert_same_run)("whole", "run")
        seen["continued"] += 1
    assert seen["continued"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_every_event_may_fail(name, xpnet, folder, request):
    command, further = prepared(xpnet, name)
    shutil.copytree("run", "kept") if Path("run").exists() else None
    with failing(10**9) as events:
        assert xpnet(*command).code == 0
    shutil.copytree("run", "whole")
    every = _apart(len(events), request)
    for at in range(0, len(events), every):
        shutil.rmtree("run", ignore_errors=True)
        if Path("kept").exists():
            shutil.copytree("kept", "run")
        with failing(at):
            outcome = xpnet(*command)
        assert outcome.code in (0, 1), (at, events[at], outcome.err)
        assert "unexpected" not in outcome.err, (at, events[at], outcome.err)
        assert outcome.code == 0 or "No space left on device" in outcome.err
        if not Path("run").exists():
            continue
        outcome = xpnet(*further, "--quiet")
        finished = name == "prune" and outcome.code == 2 and "is finished" in outcome.err
        assert outcome.code == 0 or finished, (at, events[at], outcome.err)
        (assert_same_pruning if name == "prune" else assert_same_run)("whole", "run")

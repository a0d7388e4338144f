"""``xpnet prune``: a new run folder with a smaller network, whatever interrupts it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import flowers
from xpnet import Trainer, files
from xpnet.cli import main
from xpnet.cli.flags import resolve_pruning
from xpnet.prune import prune, sparsity_of
from xpnet.runs import pruning
from xpnet.train import checkpoint_file

BRIEF = ("--rounds", "3", "--epochs", "2", "--tolerance", "none")
HIDDEN = 2 * 8 + 8 * 2  # weights of the network on two-gaussians
# a training of which no weight loses its connections at 75 %, so that exactly these are removed
ALL_CONNECTED = ("two-gaussians", "--optimizer", "adam", "--learning-rate", "0.001")

# Runs the command and sends itself a signal when a file is about to be renamed into place.
DRIVER = """
import os, signal, sys
from xpnet.cli import main
where, number, name = sys.argv[1], int(sys.argv[2]), getattr(signal, sys.argv[3])
replace, seen = os.replace, 0
def watched(source, target):
    global seen
    if str(target).endswith(where):
        seen += 1
        if seen == number:
            os.kill(os.getpid(), name)
    replace(source, target)
os.replace = watched
sys.exit(main(sys.argv[4:]))
"""


def strike(where, number, name, *arguments):
    command = [sys.executable, "-c", DRIVER, where, str(number), name, *map(str, arguments)]
    root = str(Path(files.__file__).parents[1])
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root})


def digest(folder: Path) -> dict[str, str]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def load(run: Path, name: str = "best") -> Trainer:
    return Trainer.load(Path(run) / "checkpoints" / f"{name}.safetensors", "numpy", progress=False)


def assert_same_pruning(one, other):
    for name in ("last", "best"):
        paths = [Path(run) / "checkpoints" / f"{name}.safetensors" for run in (one, other)]
        first, second = (checkpoint_file.read(path)[0] for path in paths)
        assert first.keys() == second.keys()
        for key in first:
            np.testing.assert_array_equal(first[key], second[key])
    first, second = (json.loads((Path(run) / "results.json").read_text()) for run in (one, other))
    for key in ("metrics", "best_epoch", "steps", "epochs_trained", "stopped"):
        assert first[key] == second[key]
    assert first["pruning"]["history"] == second["pruning"]["history"]


def test_a_pruned_run_is_a_run(xpnet, trained):
    run = trained(*ALL_CONNECTED)
    before = digest(run)
    outcome = xpnet("prune", run, "--sparsity", "75%", *BRIEF)
    assert outcome.code == 0, outcome.err
    assert digest(run) == before
    assert "round 3/3: 75.0% of the weights removed" in outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["before", "after", "change"]
    kept = next(line for line in lines if line.startswith("weights that are not 0"))
    assert kept.split()[-3:] == [str(HIDDEN), str(HIDDEN // 4), "-75.0%"]
    assert "measured on  200 test rows" in outcome.out
    for name in ("best", "last"):
        trainer = load("run-pruned", name)
        assert sparsity_of(trainer.variables) == 0.75
        assert np.all(trainer.variables.params.flat[trainer.mask == 0] == 0)
    results = xpnet("evaluate", "run-pruned", "--json").json
    report = json.loads(Path("run-pruned/results.json").read_text())["pruning"]["report"]
    assert results["metrics"]["test"]["loss"] == pytest.approx(report["after"]["metrics"]["loss"])
    assert not list(Path("run-pruned/checkpoints").glob("round-*"))
    files, files_of_run = ({path.name for path in folder.iterdir()} for folder in (Path("run-pruned"), run))
    assert files == files_of_run - {"diagnostics.jsonl"} | {"pruning.json"}
    table = Path("rows.csv")
    table.write_text("x0,x1\n0.1,0.2\n-1,3\n")
    assert xpnet("predict", "run-pruned", table).code == 0


def test_a_pruned_run_is_trained_further_with_its_mask(xpnet, trained):
    trained(*ALL_CONNECTED)
    assert xpnet("prune", "run", "--sparsity", "0.75", *BRIEF, "--quiet").code == 0
    assert "is finished: the target is reached, after epoch" in xpnet("resume", "run-pruned").err
    epochs = load("run-pruned", "last").epoch
    outcome = xpnet("resume", "run-pruned", "--epochs", epochs + 2)
    assert outcome.code == 0, outcome.err
    trainer = load("run-pruned", "last")
    assert trainer.epoch == epochs + 2
    assert sparsity_of(trainer.variables) == 0.75


@pytest.mark.parametrize("text", ["0.9", "90%", " 90 % ", "9e-1"])
def test_shares_and_percentages_mean_the_same(text):
    settings = resolve_pruning({"sparsity": text, "tolerance": text}, resume=False, beside={})
    assert (settings.sparsity, settings.tolerance) == (0.9, 0.9)


def test_units_make_the_network_smaller(xpnet, trained):
    trained()
    outcome = xpnet("prune", "run", "--sparsity", "0.5", "--scope", "unit", *BRIEF, "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    results = outcome.json
    assert results["layers"] == "2-4-2"
    assert results["pruning"]["report"]["after"]["weights"] == HIDDEN // 2
    assert results["pruning"]["reached"] == 0.5
    assert tomllib.loads(Path("run-pruned/config.toml").read_text())["hidden"] == [4]
    assert xpnet("evaluate", "run-pruned").code == 0
    epochs = results["epochs_trained"]
    assert xpnet("resume", "run-pruned", "--epochs", epochs + 1).code == 0
    assert load("run-pruned", "last").model.layers[0].units == 4


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("scope", ["global", "unit"])
def test_a_cuda_device_prunes_the_same(scope, xpnet, trained):
    trained()
    found = {}
    for device in ("numpy", "cuda"):
        flags = ("--sparsity", "0.75", "--scope", scope, "--backend", device, "--out", device, "--json")
        outcome = xpnet("prune", "run", *BRIEF, *flags)
        assert outcome.code == 0, outcome.err
        found[device] = outcome.json["pruning"]
    rows, expected = (found[device]["history"] for device in ("cuda", "numpy"))
    assert [row["nonzero"] for row in rows] == [row["nonzero"] for row in expected]
    after, same = (found[device]["report"]["after"] for device in ("cuda", "numpy"))
    assert after["sparse_bytes"] == same["sparse_bytes"] <= same["bytes"]  # multiplied on the device
    assert after["metrics"]["loss"] == pytest.approx(same["metrics"]["loss"], rel=1e-4)


def test_folders_are_never_overwritten(xpnet, trained):
    trained()
    for _ in range(2):
        assert xpnet("prune", "run", "--sparsity", "0.5", *BRIEF, "--rounds", 1, "--quiet").code == 0
    assert Path("run-pruned").is_dir()
    assert Path("run-pruned-2").is_dir()
    before = digest(Path("run-pruned"))
    outcome = xpnet("prune", "run", "--sparsity", "0.5", "--out", "run-pruned")
    assert outcome.code == 2
    assert "is there already and is never overwritten" in outcome.err
    assert digest(Path("run-pruned")) == before


def test_a_pruned_run_is_pruned_further(xpnet, trained):
    trained()
    assert xpnet("prune", "run", "--sparsity", "0.5", *BRIEF, "--quiet", "--out", "half").code == 0
    outcome = xpnet("prune", "half", "--sparsity", "0.25", *BRIEF)
    assert outcome.code == 2
    assert "sparsity: expected at least the 0.5000 that is there already, found 0.25" in outcome.err
    assert not Path("half-pruned").exists()
    assert xpnet("prune", "half", "--sparsity", "0.75", *BRIEF, "--quiet").code == 0
    assert sparsity_of(load("half-pruned").variables) == 0.75


def test_numbers_are_pruned_too(xpnet, trained):
    Path("flowers.csv").write_text(flowers())
    trained("flowers.csv", "--target", "price", "--schedule", "cosine", "--patience", "1")
    outcome = xpnet("prune", "run", "--sparsity", "0.5", *BRIEF, "--decay", "--schedule", "linear", "--json")
    assert outcome.code == 0, outcome.err
    assert "r2" in outcome.json["pruning"]["history"][-1]["retrained"]
    assert outcome.json["pruning"]["decay"] is True


def test_a_loss_of_the_users_own(xpnet, trained):
    Path("flowers.csv").write_text(flowers())
    Path("mine.py").write_text(
        "from xpnet.losses import make\n"
        "squares = make(lambda predictions, targets: (predictions - targets) ** 2)\n"
    )
    trained("flowers.csv", "--target", "price", "--loss", "mine.py:squares")
    outcome = xpnet("prune", "run", "--sparsity", "0.5", *BRIEF)
    assert outcome.code != 0
    assert "--loss" in outcome.err
    outcome = xpnet("prune", "run", "--sparsity", "0.5", *BRIEF, "--loss", "mine.py:squares")
    assert outcome.code == 0, outcome.err


def test_classes_keep_their_weights(xpnet, trained, monkeypatch):
    Path("flowers.csv").write_text(flowers())
    trained("flowers.csv", "--target", "kind", "--class-weight", "rose=9,tulip=1")
    given = {}

    def noting(*arguments, **options):
        given.update(options)
        return prune(*arguments, **options)

    monkeypatch.setattr(pruning, "prune", noting)
    assert xpnet("prune", "run", "--sparsity", "0.5", *BRIEF, "--quiet").code == 0
    assert given["class_weight"] == {0: 9.0, 1: 1.0}


def test_a_round_beyond_the_tolerance_is_taken_back(xpnet, trained):
    trained("spirals", "--epochs", "30", "--learning-rate", "0.02")
    flags = ("--sparsity", "75%", "--rounds", 4, "--epochs", 1)
    outcome = xpnet("prune", "run", *flags)
    assert outcome.code == 1
    results = json.loads(Path("run-pruned/results.json").read_text())
    assert results["stopped"].startswith("accuracy suffered by more than 0.02 in round")
    *kept, last = results["pruning"]["history"]
    assert not last["kept"]
    assert results["pruning"]["rounds_kept"] == len(kept) - 1
    assert sparsity_of(load("run-pruned").variables) == kept[-1]["sparsity"]
    warnings = [line for line in outcome.err.splitlines() if line.startswith("warning: pruning")]
    assert warnings == [f"warning: {results['pruning']['missed']}"]  # once
    assert "before its target" in warnings[0]
    quiet = xpnet("prune", "run", *flags, "--quiet", "--json")
    assert (quiet.code, quiet.err) == (1, f"{warnings[0]}\n")
    assert xpnet("prune", "run", *flags, "--tolerance", "none").code == 0


def test_paths_to_each_output_stay(xpnet, trained):
    trained()
    outcome = xpnet("prune", "run", "--sparsity", "99%", *BRIEF)
    assert outcome.code == 1
    assert "before its target: two paths to each output stay in any case" in outcome.err
    first, last = (load("run-pruned").variables.params[name] for name in ("0.weight", "2.weight"))
    assert np.all(((first != 0).sum(axis=0) @ (last != 0)) >= 2)


@pytest.fixture(scope="session")
def whole(finished_run) -> dict[str, Path]:
    """Prunings that nothing interrupted, by their scope."""
    runs = {scope: finished_run.with_name(f"{scope}-pruned") for scope in ("global", "unit")}
    for scope, run in runs.items():
        arguments = ("--sparsity", "0.7", "--scope", scope, *BRIEF, "--out", str(run), "--quiet")
        assert main(["prune", str(finished_run), *arguments]) == 0
    return runs


@pytest.mark.full
@pytest.mark.parametrize(
    ("where", "number", "scope"),
    [
        ("round-2.safetensors", 1, "global"),
        ("pruning.json", 3, "unit"),
        ("last.safetensors", 1, "unit"),
        ("results.json", 1, "global"),
    ],
)
def test_kill_and_go_on(where, number, scope, xpnet, trained, whole):
    trained()
    arguments = ("prune", "run", "--sparsity", "0.7", "--scope", scope, *BRIEF)
    killed = strike(where, number, "SIGKILL", *arguments, "--out", "part")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not Path("part/results.json").exists()
    for command in (("resume", "part"), ("prune", "part", "--sparsity", "0.9")):
        outcome = xpnet(*command)
        assert outcome.code == 2
        assert "continue it with: xpnet prune part --resume" in outcome.err
    outcome = xpnet("prune", "part", "--resume", "--quiet")
    assert outcome.code == 0, outcome.err
    assert_same_pruning(whole[scope], "part")
    assert not list(Path("part/checkpoints").glob("round-*"))


@pytest.mark.full
def test_kill_while_a_pruned_run_is_trained_further(xpnet, trained):
    trained(*ALL_CONNECTED)
    assert xpnet("prune", "run", "--sparsity", "0.75", *BRIEF, "--quiet").code == 0
    epochs = load("run-pruned", "last").epoch + 3
    killed = strike("results.json", 1, "SIGKILL", "resume", "run-pruned", "--epochs", epochs)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    outcome = xpnet("resume", "run-pruned", "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    assert outcome.json["epochs_trained"] == epochs
    assert sparsity_of(load("run-pruned").variables) == 0.75


@pytest.mark.full
def test_ctrl_c_keeps_the_last_whole_round(xpnet, trained, whole):
    trained()
    arguments = ("prune", "run", "--sparsity", "0.7", "--scope", "global", *BRIEF)
    stopped = strike("pruning.json", 3, "SIGINT", *arguments, "--out", "part")  # in the round that follows
    assert stopped.returncode == 130, stopped.stderr
    assert "the state after the last whole round is saved" in stopped.stderr
    assert "xpnet prune part --resume" in stopped.stderr
    assert len(json.loads(Path("part/pruning.json").read_text())["progress"]["rounds"]) == 3
    assert xpnet("prune", "part", "--resume").code == 0
    assert_same_pruning(whole["global"], "part")


def test_divergence_keeps_the_last_whole_round(xpnet, trained):
    trained()
    outcome = xpnet("prune", "run", "--sparsity", "0.7", *BRIEF, "--learning-rate", "1e30", "--quiet")
    assert outcome.code == 4
    assert "continue with: xpnet prune run-pruned --resume --learning-rate X" in outcome.err
    known = Path("run-pruned/pruning.json")
    text = known.read_text()
    known.write_text(text.replace('"rounds": 3', '"rounds": 2'))
    outcome = xpnet("prune", "run-pruned", "--resume", "--lr", "0.01")
    assert (outcome.code, "is not what 'round-0.safetensors' was trained with" in outcome.err) == (1, True)
    known.write_text(text)
    outcome = xpnet("prune", "run-pruned", "--resume", "--lr", "0.01")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--sparsity: expected the share to remove"),
        (("--sparsity", "101%"), "--sparsity: expected a number of at least 0 and below 1, .*found 1.01"),
        (("--sparsity", "100%"), "found 1.0"),
        (("--sparsity", "90"), "found 90.0"),
        (("--sparsity=-0.5",), "found -0.5"),
        (("--sparsity", "most"), "--sparsity: expected a number"),
        (("--sparsity", "0.5", "--rounds", "0"), "--rounds: expected a whole number of at least 1, found 0"),
        (("--sparsity", "0.5", "--epochs", "0"), "--epochs: expected a whole number of at least 1"),
        (("--sparsity", "0.5", "--scope", "units"), "--scope: .*did you mean 'unit'"),
        (("--sparsity", "0.5", "--schedule", "cubc"), "--schedule: .*did you mean 'cubic'"),
        (("--sparsity", "0.5", "--tolerance", "-1%"), "--tolerance: expected a finite number of at least 0"),
        (("--sparsity", "0.5", "--scope", "unit", "--decay"), "decay: expected a scope of weights"),
        (("--sparsity", "0.5", "--checkpoint", "first"), "--checkpoint: expected final, best or last"),
        (("--resume", "--sparsity", "0.5"), "--sparsity: expected nothing but --learning-rate and --backend"),
        (("--resume", "--out", "other"), "--out: expected nothing but .* beside --resume"),
    ],
)  # fmt: skip
def test_bad_flags(arguments, message, xpnet, trained):
    trained()
    outcome = xpnet("prune", "run", *arguments)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert re.search(message, outcome.err), outcome.err
    assert [path.name for path in Path().iterdir()] == ["run"]


def test_runs_that_cannot_be_pruned(xpnet, trained):
    assert "there is no run folder 'none'" in xpnet("prune", "none", "--sparsity", "0.5").err
    trained()
    outcome = xpnet("prune", "run", "--resume")
    assert outcome.code == 1
    assert "'run' is no pruned run; this makes one of it: xpnet prune run --sparsity X" in outcome.err
    assert xpnet("prune", "run", "--sparsity", "0.5", *BRIEF, "--quiet").code == 0
    outcome = xpnet("prune", "run-pruned", "--resume")
    assert outcome.code == 2
    assert "the pruning 'run-pruned' is finished" in outcome.err


def test_without_validation_rows(xpnet, trained):
    trained("two-gaussians", "--validation", "0", "--test", "0")
    outcome = xpnet("prune", "run", "--sparsity", "0.5", *BRIEF, "--tolerance", "50%")  # of these rows
    assert outcome.code == 0, outcome.err
    assert "measured on  1,000 train rows" in outcome.out


def test_a_linear_model_has_no_units(xpnet, trained):
    trained("two-gaussians", "--hidden", "none")
    outcome = xpnet("prune", "run", "--sparsity", "0.5", "--scope", "unit")
    assert outcome.code == 2
    assert "expected a model with a hidden Dense layer" in outcome.err
    assert not Path("run-pruned").exists()


def test_the_table_must_be_the_same(xpnet, trained):
    Path("flowers.csv").write_text(flowers())
    trained("flowers.csv", "--target", "kind")
    Path("flowers.csv").write_text(flowers(50))
    outcome = xpnet("prune", "run", "--sparsity", "0.5")
    assert outcome.code == 5
    assert "has changed since the training began" in outcome.err

"""Run folders whose files do not belong to each other, are damaged, linked, or exchanged while they train."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import FAST, flowers
from tests.cli.mutated_files import Bench, read_mutated
from tests.cli.test_resume import strike
from xpnet.cli import main
from xpnet.data import parts
from xpnet.runs import checkpoints, pruning
from xpnet.train import checkpoint_file


@pytest.fixture
def run(trained) -> Path:
    """A finished run on a table of numbers and categories."""
    Path("flowers.csv").write_text(flowers())
    return trained("flowers.csv", "--target", "kind", "--save-every", "1")


def rewrite(path: Path, change) -> None:
    """Write a checkpoint anew with another description, as another program could."""
    arrays, description = checkpoint_file.read(path)
    change(description)
    checkpoint_file.write(path, arrays, description)


def swap_columns(run: Path) -> None:
    encoder = json.loads((run / "encoder.json").read_text())
    columns = encoder["columns"]
    columns[0], columns[1] = columns[1], columns[0]
    (run / "encoder.json").write_text(json.dumps(encoder))


def replace(name: str, old: str, new: str):
    def change(run: Path) -> None:
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new, 1))

    return change


def other_run(name: str):
    """Return what takes a file from a run of another seed."""

    def change(run: Path) -> None:
        shutil.copy(Path("other") / name, run / name)

    return change


CHANGED = {
    "columns swapped": (swap_columns, ["encoder.json", "expected SHA-256", "restore it"]),
    "a class renamed": (replace("encoder.json", '"rose"', '"rosf"'), ["encoder.json", "expected SHA-256"]),
    "a mean changed": (replace("encoder.json", '"mean": 2', '"mean": 3'), ["encoder.json"]),
    "another seed": (replace("config.toml", "\nseed = 0", "\nseed = 1"), ["config.toml", "seed 0, found 1"]),
    "another target": (replace("config.toml", '"kind"', '"colour"'), ["target kind, found colour"]),
    "other test rows": (replace("config.toml", "test = 0.2", "test = 0.3"), ["test 0.2, found 0.3"]),
    "columns left out": (replace("config.toml", "drop = []", 'drop = ["width"]'), ["config.toml", "drop"]),
    "another table": (replace("environment.json", '"sha256": "', '"sha256": "0'), ["SHA-256"]),
    "another table's digest": (lambda run: turn_digest(run), ["environment.json", "data.sha256"]),
    "the weights of another run": (other_run("checkpoints/best.safetensors"), ["another run's"]),
    "a newer setting": (
        replace("config.toml", "# Data", "surprise = 1"),
        ["unknown key 'surprise'", "newer xpnet", "update this one"],
    ),
    "a newer environment": (
        replace("environment.json", '"time"', '"surprise": 1, "time"'),
        ["surprise is unknown to this version", "newer xpnet"],
    ),
    "text outside Unicode": (replace("encoder.json", '"width"', r'"\ud800"'), ["text of Unicode"]),
    "a huge number": (replace("environment.json", '"rows": 60', '"rows": ' + "1" * 5000), ["damaged"]),
    "nested without end": (lambda run: (run / "encoder.json").write_text("[" * 10**5), ["in each other"]),
    "bits that are no text": (lambda run: (run / "config.toml").write_bytes(b"\xff"), ["UTF-8"]),
    "tables without end": (lambda run: (run / "config.toml").write_text("a = " + "[" * 10**5), ["TOML"]),
}  # fmt: skip


def turn_digest(run: Path) -> None:
    environment = json.loads((run / "environment.json").read_text())
    environment["data"]["sha256"] = environment["data"]["sha256"][::-1]
    (run / "environment.json").write_text(json.dumps(environment))


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    """A folder with a run and one of another seed."""
    folder = tmp_path_factory.mktemp("pair")
    table = folder / "flowers.csv"
    table.write_text(flowers())
    for name, seed in (("run", 0), ("other", 5)):
        arguments = ("--target", "kind", "--out", str(folder / name), "--seed", str(seed), "--quiet", *FAST)
        assert main(["train", str(table), *arguments]) == 0
    return folder


@pytest.mark.parametrize("case", CHANGED)
def test_files_that_do_not_belong_to_the_weights(case, xpnet, pair, folder):
    change, words = CHANGED[case]
    for name in ("run", "other"):
        shutil.copytree(pair / name, name)
    run = Path("run")
    change(run)
    (run / "results.json").unlink()
    if case.startswith("the weights"):
        other_run("checkpoints/last.safetensors")(run)
    table = str(pair / "flowers.csv")
    for command in (
        ("predict", run, table),
        ("evaluate", run),
        ("evaluate", run, table),
        ("resume", run, "--epochs", "3"),
        ("prune", run, "--sparsity", "0.5"),
        ("graph", run),
        ("parity", "numpy", "numpy", "--run", run),
    ):
        outcome = xpnet(*command)
        assert (outcome.code, outcome.out) == (1, ""), command
        assert len(outcome.err.splitlines()) == 1
        assert all(word in outcome.err for word in words), outcome.err
    assert not Path("run-pruned").exists()


def test_settings_edited_by_hand_are_told_and_recorded(xpnet, run):
    before = xpnet("predict", run, "flowers.csv")
    assert before.err == ""
    replace("config.toml", "\nepochs = 2", "\nepochs = 4")(run)
    replace("config.toml", "learning-rate = 0.002", "learning-rate = 0.01")(run)
    told = "epochs is 4, and was 2 when '{}.safetensors' was written; the new value counts"
    after = xpnet("predict", run, "flowers.csv")
    assert (after.code, after.out) == (0, before.out)
    assert told.format("best") in after.err
    (run / "results.json").unlink()
    outcome = xpnet("resume", run, "--json")
    assert outcome.code == 0, outcome.err
    assert told.format("last") in outcome.err
    assert outcome.json["epochs_trained"] == 4
    changes = {c["setting"]: (c["epoch"], c["before"], c["after"]) for c in outcome.json["changes"]}
    assert changes == {"epochs": (3, 2, 4), "learning-rate": (3, 0.002, 0.01)}
    for checkpoint in ("last", "best", "epoch-1"):  # of which the older ones have the older settings
        assert xpnet("predict", run, "flowers.csv", "--checkpoint", checkpoint).err == ""


def test_other_settings_of_a_resumption_are_no_edits(xpnet, run):
    assert xpnet("resume", run, "--epochs", "4", "--l2", "0.01").code == 0
    assert xpnet("resume", run, "--from", "epoch-1", "--l2", "0.1", "--epochs", "5").code == 0
    for command in (("evaluate", run), ("predict", run, "flowers.csv", "--checkpoint", "epoch-1")):
        outcome = xpnet(*command)
        assert (outcome.code, outcome.err) == (0, ""), command


def test_a_table_that_was_moved(xpnet, run):
    Path("elsewhere").mkdir()
    shutil.move("flowers.csv", "elsewhere/flowers.csv")
    assert xpnet("evaluate", run).code == 5
    replace("config.toml", "/flowers.csv", "/elsewhere/flowers.csv")(run)
    outcome = xpnet("evaluate", run)
    assert outcome.code == 0
    assert "config.toml' was edited: data is" in outcome.err


def test_a_run_without_a_manifest_is_read_and_said_to_be_older(xpnet, run):
    for path in (run / "checkpoints").iterdir():
        rewrite(path, lambda description: description.pop("run"))
    for command in (("predict", run, "flowers.csv"), ("evaluate", run), ("resume", run, "--epochs", "3")):
        outcome = xpnet(*command)
        assert outcome.code == 0
        assert outcome.err.count("was written by an older xpnet") == 1
    assert xpnet("evaluate", run, "--checkpoint", "last").err == ""


def test_another_split_of_the_same_rows(xpnet, run, monkeypatch):
    split = parts.split_rows
    monkeypatch.setattr(parts, "split_rows", lambda rows, **options: split(rows, **{**options, "seed": 9}))
    for command in (("evaluate", run), ("resume", run, "--epochs", "3"), ("graph", run)):
        outcome = xpnet(*command)
        assert (outcome.code, "are split otherwise" in outcome.err) == (5, True), command


# --- folders from strangers ---------------------------------------------------------------------------

PARTS = (
    "train.log", "config.toml", "encoder.json", "environment.json", "results.json", "history.csv",
    "diagnostics.jsonl", "checkpoints/last.safetensors", "figures/loss.svg", "checkpoints", "figures",
)  # fmt: skip


LINKED = [(part, "symlink") for part in PARTS]
LINKED += [
    (part, kind) for part in ("train.log", "encoder.json") for kind in ("dangling", "hard link", "FIFO")
]


@pytest.mark.parametrize(("part", "kind"), LINKED)
def test_linked_parts_are_refused(part, kind, xpnet, trained):
    run = trained()
    path, target = run / part, Path("mine")
    if path.is_dir():
        shutil.copytree(path, target)
        shutil.rmtree(path)
    else:
        shutil.copy(path, target)
        path.unlink()
    if kind == "symlink":
        path.symlink_to(target.resolve())
    elif kind == "dangling":
        path.symlink_to(Path("nothing").resolve())
    elif kind == "hard link":
        os.link(target, path)
    else:
        os.mkfifo(path)
    before = sorted((p, p.read_bytes()) for p in [target, *target.rglob("*")] if p.is_file())
    for command in (("predict", run, "two-gaussians"), ("evaluate", run), ("resume", run, "--epochs", "3")):
        outcome = xpnet(*command)
        if kind == "hard link" and command[0] != "resume":  # which writes to it; others may read it
            assert outcome.code == 0, command
            continue
        assert outcome.code == 1, command
        assert f"'{path}' is a " in outcome.err
        assert (f"cp -r {run} COPY" in outcome.err) == (kind == "hard link")
    assert before == sorted((p, p.read_bytes()) for p in [target, *target.rglob("*")] if p.is_file())
    assert not Path("nothing").exists()


def test_text_of_files_stays_within_its_line_of_the_log(xpnet, trained):
    run = trained()
    path = run / "environment.json"
    environment = json.loads(path.read_text())
    change = {"epoch": 1, "setting": "backend", "before": "x\ntouch PWNED #\x1b[2J\u202e", "after": "numpy"}
    path.write_text(json.dumps({**environment, "changes": [change]}))
    lines = len((run / "train.log").read_text().splitlines())
    log = checkpoints.RunLog(run / "train.log")
    log.write("a\nb\x1b[2J\u202e\ud800")
    added = (run / "train.log").read_text(encoding="utf-8").splitlines()[lines:]
    assert len(added) == 1
    assert added[0].endswith(r" a\nb\x1b[2J\u202e\ud800")
    assert xpnet("resume", run, "--epochs", "3").code == 0
    assert not any(line.startswith("touch") for line in (run / "train.log").read_text().splitlines())


def test_a_log_is_not_written_through_a_link(folder):
    Path("profile").write_text("mine\n")
    Path("train.log").symlink_to("profile")
    checkpoints.RunLog(Path("train.log")).write("a line")
    assert Path("profile").read_text() == "mine\n"


# --- folders that are exchanged, and file systems without locks --------------------------------------


@pytest.mark.parametrize("how", ["moved", "replaced"])
@pytest.mark.parametrize("command", ["train", "prune"])
def test_a_folder_that_is_exchanged_while_it_trains(how, command, xpnet, trained, monkeypatch):
    step_end, calls = checkpoints.Keeper.on_step_end, []

    def exchange(self, trainer, step, steps):
        calls.append(step)
        if len(calls) == 2:
            os.rename("out", "away")
            if how == "replaced":
                Path("out/checkpoints").mkdir(parents=True)
                Path("out/train.log").write_text("a stranger's\n")
        step_end(self, trainer, step, steps)

    if command == "train":
        monkeypatch.setattr(checkpoints.Keeper, "on_step_end", exchange)
        arguments = ("train", "two-gaussians", "--out", "out", *FAST)
    else:
        step_end = pruning._Watch.on_step_end
        monkeypatch.setattr(pruning._Watch, "on_step_end", exchange)
        trained()
        brief = ("--rounds", "2", "--epochs", "1", "--tolerance", "none")
        arguments = ("prune", "run", "--out", "out", "--sparsity", "0.5", *brief)
    outcome = xpnet(*arguments)
    assert outcome.code == 1
    assert ("gone" if how == "moved" else "another one") in outcome.err
    further = ("resume", "away") if command == "train" else ("prune", "away", "--resume")
    assert f"it is 'away' now: continue with xpnet {' '.join(further)}" in outcome.err
    assert how == "replaced" or xpnet(*further).code == 0
    assert Path("out").exists() == (how == "replaced")
    if how == "replaced":
        assert sorted(map(str, Path("out").rglob("*"))) == ["out/checkpoints", "out/train.log"]
        assert Path("out/train.log").read_text() == "a stranger's\n"


def test_a_file_system_without_locks_is_said_once(xpnet, folder, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    outcome = xpnet("train", "two-gaussians", "--out", "run", *FAST)
    assert outcome.code == 0
    assert outcome.err.count("has no locks (No locks available)") == 1


def test_a_resumption_that_computes_otherwise_says_so(xpnet, trained):
    run = trained()
    assert "bits may differ" not in xpnet("resume", run, "--epochs", "3").err
    path = run / "environment.json"
    environment = json.loads(path.read_text())
    environment["resumed"][-1]["versions"]["numba"] = "0.1"
    environment["resumed"][-1]["blas"] = ["openblas 0.3 Prescott, 7 threads"]
    path.write_text(json.dumps(environment))
    outcome = xpnet("resume", run, "--epochs", "4")
    assert outcome.code == 0
    for word in ("bits may differ", "numba: 0.1 before", "Prescott, 7 threads before"):
        assert word in outcome.err
    assert "bits may differ" in (run / "train.log").read_text()


@pytest.mark.full
def test_a_pruning_that_is_killed_before_its_first_file_is_no_run(xpnet, trained):
    trained()
    brief = ("--rounds", "1", "--epochs", "1", "--tolerance", "none")
    arguments = ("prune", "run", "--sparsity", "0.7", *brief, "--out", "part")
    for where in ("encoder.json", "round-0.safetensors", "pruning.json", "config.toml"):
        shutil.rmtree("part", ignore_errors=True)
        assert strike(where, 1, "SIGKILL", *arguments).returncode == -9
        for command in (
            ("resume", "part"),
            ("prune", "part", "--resume"),
            ("predict", "part", "two-gaussians"),
        ):
            outcome = xpnet(*command)
            assert (outcome.code, "no config.toml" in outcome.err) == (1, True), (where, command)
    outcome = xpnet(*arguments)
    assert (outcome.code, "resume" in outcome.err) == (2, False)


def test_mutated_files(folder):
    counts = read_mutated(Bench(folder), 300)
    assert sum(sum(counter.values()) for counter in counts.values()) == 300
    assert all(counter["refused"] > 0 for counter in counts.values())

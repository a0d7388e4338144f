"""``xpnet parity``: exit codes, the table, JSON, runs of the user's own, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from xpnet.cli import commands
from xpnet.train.agreement import comparison, devices, networks

DEVICES = ("numpy", "array_api_strict")
QUICK = ("--steps", "2", "--dtype", "float64")


@pytest.fixture
def one_network(monkeypatch):
    """The built-in networks are one, with one loss."""
    monkeypatch.setattr(devices, "NETWORKS", [n for n in networks.NETWORKS if n.name == "layer norm"])


def test_devices_that_agree(xpnet, one_network):
    outcome = xpnet("parity", *DEVICES, *QUICK)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["device", "dtype", "check", "arrays", "difference", "tolerance", "verdict"]
    assert "all devices agree" in lines
    for check in ("draws", "gradient", "parameters", "predictions after"):
        assert any("array_api_strict:CPU_DEVICE" in line and check in line for line in lines)


def test_json_of_devices_that_differ(xpnet, one_network, monkeypatch):
    measure = comparison.measure

    def wrong(case, home, *rest, **options):
        found = measure(case, home, *rest, **options)
        if home.name != "numpy":
            found["gradient"]["0.weight"] = found["gradient"]["0.weight"] * (1 + 1e-9)
        return found

    monkeypatch.setattr(comparison, "measure", wrong)
    outcome = xpnet("parity", *DEVICES, *QUICK, "--json")
    assert outcome.code == 1
    told = outcome.json
    assert (told["agree"], told["reference"], told["steps"]) == (False, "numpy", 2)
    assert set(told) == {"agree", "reference", "devices", "versions", "steps", "rows", "notes", "seconds"}
    differing = [row for row in told["rows"] if row["verdict"] == "differ"]
    assert {(row["check"], row["name"]) for row in differing} == {("gradient", "0.weight")}
    assert all(row["figure"] > row["tolerance"] > 0 for row in differing)
    assert "xpnet" in told["versions"]
    shown = xpnet("parity", *DEVICES, *QUICK)
    assert shown.code == 1
    assert "devices differ" in shown.out
    assert (
        "differs first in gradient (float64; layer norm, binary_cross_entropy, compile off: 0.weight["
        in shown.out
    )


def test_a_run(xpnet, trained):
    run = trained()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    outcome = xpnet("parity", *DEVICES, "--run", run, "--json", *QUICK)
    assert outcome.code == 0, outcome.out
    rows = outcome.json["rows"]
    assert {row["loss"] for row in rows} == {"softmax_cross_entropy"}
    assert {row["check"] for row in rows} >= {"predictions", "gradient", "parameters", "optimizer"}
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_whose_table_is_gone(xpnet, trained, folder):
    table = folder / "points.csv"
    table.write_text("x,y\n" + "".join(f"{i / 40},{i / 20}\n" for i in range(40)))
    run = trained(table, "--target", "y")
    table.unlink()
    outcome = xpnet("parity", *DEVICES, "--run", run)
    assert outcome.code == 5
    assert f"the run's table '{table}' cannot be read" in outcome.err
    assert "put it back" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "DEVICES: expected at least two, the first of them the reference, found 0"),
        (("numpy",), 2, "write, say: xpnet parity numpy cuda"),
        (("numpy", "torc"), 3, "did you mean 'torch'?"),
        (("numpy", "numpy:gpu"), 3, "expected the device 'cpu', found 'gpu'"),
        ((*DEVICES, "--steps", "0"), 2, "--steps: expected a whole number of at least 1"),
        ((*DEVICES, "--dtype", "float16"), 2, "--dtype: expected"),
        (("numpy", "array_api_strict:no_float64", "--dtype", "float64"), 3, "expected one of the dtypes"),
        ((*DEVICES, "--checkpoint", "best"), 2, "--checkpoint: expected --run RUN with it"),
        ((*DEVICES, "--run", "nowhere"), 1, "there is no run folder 'nowhere'"),
    ],
)
def test_what_is_refused(arguments, code, message, xpnet):
    outcome = xpnet("parity", *arguments)
    assert outcome.code == code
    assert message in outcome.err


def test_it_needs_no_tables(folder):
    code = f"""
import sys
sys.modules["polars"] = sys.modules["matplotlib"] = None
from xpnet.train.agreement import devices, networks
devices.NETWORKS = networks.NETWORKS[-1:]
from xpnet.cli import main
raise SystemExit(main(["parity", *{DEVICES!r}, *{QUICK!r}]))
"""
    root = Path(commands.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr

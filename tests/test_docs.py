"""The documentation's commands and examples are true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
ADDING = (ROOT / "docs" / "adding.md").read_text()
BACKPROPAGATION = (ROOT / "docs" / "backpropagation.md").read_text()
TRAINING = (ROOT / "docs" / "training.md").read_text()
PARITY = (ROOT / "docs" / "parity.md").read_text()
SECOND_ORDER = (ROOT / "docs" / "second-order.md").read_text()

# What the guide's examples take as given.
_GIVEN = """
import numpy as np
import xpnet
from xpnet import data
X, y = data.digits_arrays()
X = X / 16
X_new, X_test, y_test = X[:5], X[:100], y[:100]
x = np.asarray([0.5, -1.0])
v = np.asarray([1.0, 2.0])
"""

# The files that the examples of "adding things" belong to. The rules shown are those that exist.
_WHERE = """
import dataclasses, math
import numpy as np
from xpnet.autodiff import check_grads
from xpnet.autodiff.functions import softplus
from xpnet.autodiff.rules.compounds import _log_softmax
from xpnet.autodiff.rules.rule import RULES, composed, elementwise, rule
from xpnet.backends import array_namespace
from xpnet.losses import get
from xpnet.losses.functions import _difference
from xpnet.losses.registry import register, row_sum
from xpnet.nn.activations import _Activation, activation
for shown in ("tan", "multiply", "log_softmax", "linalg.outer"):
    RULES.pop(shown)
"""
_THEN = """
x = np.linspace(-2.0, 2.0, 8)
assert np.allclose(activation("softsign").function(x), x / (1 + np.abs(x)))
assert np.isclose(get("log_cosh")(x, 0 * x), np.mean(np.log(np.cosh(x))))
check_grads(activation("softsign").function, (x,))
check_grads(lambda y: get("log_cosh")(y, 0 * x), (x,))
"""


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_readme_opens_with_three_sentences_and_two_commands() -> None:
    opening, between, _ = re.split(r"```sh\n.*?```", README, flags=re.DOTALL)
    prose = " ".join(line for line in opening.splitlines() if line and not line.startswith("#"))
    assert len(re.findall(r"[^.]\.(?= |$)", prose)) == 3
    assert between.strip() == ""
    assert len(blocks(README, "sh")) == 2
    assert "xpnet train digits" in blocks(README, "sh")[0]
    assert "pytest" in blocks(README, "sh")[1]


def test_every_link_leads_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def _says(path: str, name: str) -> bool:
    """True if a file defines a dotted name, or has a piece of code such as ``rule("relu"``."""
    text = (ROOT / path).read_text()
    if "(" in name:
        return name in text
    return all(
        re.search(rf"^ *(class|def) {piece}\b|^{piece}(: .*)? = ", text, re.MULTILINE)
        for piece in name.split(".")
    )


def test_the_table_of_places_is_true() -> None:
    """Whatever it says is in a file is there, and each file."""
    table = ARCHITECTURE.partition("\n## Where is it?")[2].partition("\n## ")[0]
    files = re.findall(r"`((?:xpnet|tests)/[^`]*)`(?:: ((?:`[^`]+`(?:, )?)+))?", table)
    assert len(files) > 20
    assert not [path for path, _ in files if not (ROOT / path).exists()]
    named = [(path, name) for path, names in files for name in re.findall(r"`([^`]+)`", names)]
    assert not [(path, name) for path, name in named if not _says(path, name)]


@pytest.mark.parametrize(
    "page", ["README", "guide", "adding", "backpropagation", "training", "second-order", "parity"]
)
def test_python_examples_run(page: str, tmp_path: Path) -> None:
    text, given, then = {
        "README": (README, "", ""),
        "guide": (GUIDE, _GIVEN, ""),
        "adding": (ADDING, _WHERE, _THEN),
        "backpropagation": (BACKPROPAGATION, "", ""),
        "training": (TRAINING, "", ""),
        "second-order": (SECOND_ORDER, "", ""),
        "parity": (PARITY, "", ""),
    }[page]
    examples = blocks(text, "python")
    assert examples
    code = given + "\n".join(examples) + then
    if page == "guide":  # devices that this machine may lack, and a hundred epochs
        code = code.replace('backend="cuda"', 'backend="numpy"').replace("epochs=100", "epochs=2")
        code = re.sub(r"^xpnet\.backend\(.*(cuda|torch|jax).*$", "", code, flags=re.MULTILINE)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if page == "backpropagation":  # which shows all that its examples print
        assert done.stdout == "".join(blocks(text, "text"))


def test_the_changelog_has_an_unreleased_section() -> None:
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()

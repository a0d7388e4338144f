"""The documentation's commands and examples are true."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
BACKPROPAGATION = (ROOT / "docs" / "backpropagation.md").read_text()

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


def test_the_readme_opens_with_three_sentences_and_two_commands() -> None:
    text = re.sub(r"<!--.*?-->", "", README)
    opening, between, _ = re.split(r"```sh\n.*?```", text, flags=re.DOTALL)
    prose = " ".join(line for line in opening.splitlines() if line and not line.startswith("#"))
    assert len(re.findall(r"[^.]\.(?= |$)", prose)) == 3
    assert between.strip() == ""
    first, second = (b.code for b in BLOCKS["README.md"] if b.language == "sh")
    assert "xpnet train digits" in first
    assert "pytest" in second


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


@dataclasses.dataclass(frozen=True)
class Block:
    """A piece of code of a page, and the comment before it that says how it is tested.

    The comment is ``<!-- test: ... -->`` with ``skip, why``, ``full`` (it takes long), ``needs PACKAGE``, or
    ``part of a file`` of xpnet, which has a test of its own.
    """

    page: str
    line: int
    language: str
    code: str
    mark: str

    @property
    def is_skipped(self) -> bool:
        return self.mark.startswith(("skip", "part of a file"))

    @property
    def is_long(self) -> bool:
        return self.mark == "full"

    @property
    def missing(self) -> str:
        """The package that it needs and that is not installed."""
        package = self.mark.removeprefix("needs ") if self.mark.startswith("needs ") else ""
        return package if package and find_spec(package) is None else ""


def _blocks_of(page: Path) -> list[Block]:
    text, found = page.read_text(), []
    marked = re.compile(
        r"(?:<!-- test: ([^\n]*) -->\n)?^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE
    )
    for match in marked.finditer(text):
        line = text[: match.start(2)].count("\n") + 1
        found.append(Block(page.name, line, match[2], match[3], match[1] or ""))
    return found


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = {page.name: found for page in PAGES if (found := _blocks_of(page))}
LEFT_OUT = [b for found in BLOCKS.values() for b in found if b.mark.startswith("skip") or b.missing]
EVERYDAY = ("README.md", "tables.md")
RUN = [
    pytest.param(name, full, id=f"{name}{'-with-long-ones' if full else ''}", marks=marks)
    for name, found in BLOCKS.items()
    for full in (False, True)
    for marks in [() if name in EVERYDAY and not full else pytest.mark.full]
    for long in [{b.is_long for b in found if not b.is_skipped}]
    if long and (full == (True in long) or marks == ())
]

# Runs blocks as somebody pastes them: Python in one session, the shell in the same folder.
_PASTE = """
import json, subprocess, sys
session = {"__name__": "__main__"}
for page, line, language, code in json.load(open(sys.argv[1])):
    print(f"{page}:{line}", file=sys.stderr, flush=True)
    if language == "python":
        exec(compile("\\n" * line + code, page, "exec"), session)
        sys.stdout.flush()
    else:
        subprocess.run(["bash", "-euo", "pipefail", "-c", code], check=True, stdout=sys.stderr)
"""


@pytest.mark.parametrize(("page", "full"), RUN)
def test_blocks_run_when_they_are_pasted_in_the_order_of_the_page(
    page: str, full: bool, tmp_path: Path
) -> None:
    blocks = [b for b in BLOCKS[page] if not (b.is_skipped or b.missing or (b.is_long and not full))]
    done = _paste(blocks, tmp_path)
    assert done.returncode == 0, done.stderr
    if page == "backpropagation.md":  # which shows all that its examples print
        assert done.stdout == "".join(re.findall(r"```text\n(.*?)```", BACKPROPAGATION, flags=re.DOTALL))


def _paste(blocks: list[Block], folder: Path) -> subprocess.CompletedProcess[str]:
    listed = folder / "blocks.json"
    listed.write_text(json.dumps([(b.page, b.line, b.language, b.code) for b in blocks]))
    command = folder / "bin" / "xpnet"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m xpnet "$@"\n')
    command.chmod(0o755)
    given = {name: value for name, value in os.environ.items() if name != "SCIPY_ARRAY_API"}
    path = {"PATH": f"{command.parent}:{given['PATH']}", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", _PASTE, str(listed)],
        cwd=folder, env={**given, **path}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("block", LEFT_OUT, ids=lambda b: f"{b.page}:{b.line}")
def test_blocks_that_are_left_out(block: Block) -> None:
    pytest.skip(f"{block.page}:{block.line}: {block.mark}")


def test_pieces_of_files_run_in_their_files(tmp_path: Path) -> None:
    """The page about additions shows what is to be written into files of xpnet."""
    code = "\n".join([_WHERE, *(b.code for b in BLOCKS["adding.md"]), _THEN])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_changelog_has_an_unreleased_section() -> None:
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()

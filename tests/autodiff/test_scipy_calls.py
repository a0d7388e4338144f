"""Calls of SciPy's functions on traced arrays: those that are differentiated as they stand, and the others.

The calls are in ``scipy_calls.txt``, by what becomes of them. In them ``x`` is a vector of six numbers, ``p``
one of numbers below 1, ``X`` (6, 4), ``Y`` (30, 2), ``S`` a square matrix, and ``xp`` their namespace.

``python -m tests.autodiff.test_scipy_calls`` writes what docs/scipy.md has of them.
"""

from __future__ import annotations

import importlib
import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.autodiff.cases_special import CASES as SPECIAL
from tests.support import draw
from xpnet.autodiff import vjp
from xpnet.autodiff.rules.special import ALIASES
from xpnet.backends import array_namespace

PAGE = Path(__file__).parents[2] / "docs" / "scipy.md"
MEASURED = "1.17"  # SciPy's version of the lists
_MODULES = (
    "special", "stats", "signal", "fft", "integrate", "differentiate", "optimize", "linalg", "interpolate",
    "cluster", "ndimage", "spatial", "constants",
)  # fmt: skip
_SUBMODULES = ("optimize.elementwise", "stats.contingency", "cluster.vq", "cluster.hierarchy",
               "spatial.distance", "spatial.transform")  # fmt: skip
_ARGUMENTS: dict[str, np.ndarray] = {
    "x": draw(3, (6,), 0.3, 0.95), "p": draw(4, (6,), 0.05, 0.95), "X": draw(5, (6, 4), 0.3, 1.2),
    "Y": draw(6, (30, 2), 0.3, 1.5), "S": draw(7, (4, 4), 0.2, 1.2) + 2 * np.eye(4),
}  # fmt: skip
EVERYDAY = (
    "stats.entropy(x)", "stats.ttest_ind(X, X[:4, :] ** 2).pvalue", "stats.chisquare(x).pvalue",
    "stats.pearsonr(x, x ** 2).confidence_interval().low", "stats.f_oneway(X[:, 0], X[:, 1], X[:, 2]).pvalue",
    "stats.normaltest(Y).pvalue", 'stats.combine_pvalues(p, method="stouffer").pvalue',
    "stats.directional_stats(X).mean_resultant_length",
)  # fmt: skip


def _lists() -> dict[str, list[str]]:
    """Return the calls by their headings."""
    found: dict[str, list[str]] = {}
    for line in Path(__file__).with_name("scipy_calls.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            found[line[2:]] = calls = []
        elif line:
            calls.append(line)
    return found


LISTS = _lists()
WORK, FLAT, *_ = LISTS.values()
CANNOT = [(heading, call) for heading, calls in list(LISTS.items())[2:] for call in calls]
needs_scipy = pytest.mark.skipif(os.environ.get("SCIPY_ARRAY_API") != "1", reason="SCIPY_ARRAY_API is not 1")


def _function(call: str) -> tuple[Any, list[np.ndarray]]:
    """Return a call as a function of the arguments in it, and these."""
    scipy = pytest.importorskip("scipy", reason="SciPy is not installed")
    for name in (*_MODULES, *_SUBMODULES):
        importlib.import_module(f"scipy.{name}")
    used = [name for name in _ARGUMENTS if re.search(rf"\b{name}\b", call)]
    names = {name: getattr(scipy, name) for name in _MODULES}

    def run(*args: Any) -> Any:
        out = eval(call, {**names, "xp": array_namespace(*args), **dict(zip(used, args, strict=True))})
        return next(part for part in out if hasattr(part, "dtype")) if isinstance(out, (list, tuple)) else out

    return run, [_ARGUMENTS[name] for name in used]


def _check(call: str) -> float:
    """Compare the gradient of a call with finite differences, and return its size along a direction."""
    f, args = _function(call)
    y, pullback = vjp(f, *args)
    assert hasattr(y, "dtype"), f"{call} returned {type(y).__name__}"
    u = np.cos(np.arange(y.size) + 1.0).reshape(y.shape)
    directions = [np.cos(3.0 * np.arange(x.size)).reshape(x.shape) for x in args]
    got = sum(float(np.sum(g * v)) for g, v in zip(pullback(u.astype(y.dtype)), directions, strict=True))

    def at(step: float) -> float:
        moved = [x + step * v for x, v in zip(args, directions, strict=True)]
        return float(np.sum(np.real(u * np.asarray(f(*moved)))))

    step = 1e-6
    want = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
    assert got == pytest.approx(want, rel=1e-5, abs=1e-5), call
    return got


@needs_scipy
@pytest.mark.parametrize("call", EVERYDAY)
def test_some_calls_are_differentiated(call: str) -> None:
    assert call in WORK
    assert _check(call) != 0


@needs_scipy
@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", [*WORK, *FLAT])
def test_calls_are_differentiated(call: str) -> None:
    assert (_check(call) == 0) == (call in FLAT)


@needs_scipy
@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("heading", "call"), CANNOT)
def test_other_calls_are_refused(heading: str, call: str) -> None:
    scipy = pytest.importorskip("scipy", reason="SciPy is not installed")
    if not scipy.__version__.startswith(MEASURED):
        pytest.skip(f"the lists are those of SciPy {MEASURED}")
    with pytest.raises(Exception):  # noqa: B017  # of any kind: SciPy's code stops where it fails
        _check(call)


# --- The page -----------------------------------------------------------------------------------------


def _name(call: str) -> str:
    return call[: call.index("(")]


def _names(calls: list[str]) -> dict[str, list[str]]:
    """Return the functions called, by module."""
    found: dict[str, set[str]] = defaultdict(set)
    for call in calls:
        module, _, name = _name(call).partition(".")
        found[module].add(name)
    return {module: sorted(names) for module, names in found.items()}


def table() -> str:
    """Return the tables of docs/scipy.md."""
    aliases = {rule: name for name, rule in ALIASES.items()}
    special = {aliases.get(case.rule, case.rule.removeprefix("special.")) for case in SPECIAL}
    work = _names([*WORK, *(f"special.{name}(x)" for name in special)])
    known = {f"{module}.{name}" for module, names in work.items() for name in names}
    lines = ["| `scipy.` | differentiated unchanged |", "|---|---|"]
    lines += [
        f"| `{module}` | {', '.join(f'`{name}`' for name in found)} |" for module, found in work.items()
    ]
    lines += ["", "| reason | not differentiated |", "|---|---|"]
    for heading, calls in list(LISTS.items())[1:]:
        shown = {_name(call) if _name(call) not in known else call for call in calls}
        lines += [f"| {heading.partition(': ')[2]} | {', '.join(f'`{text}`' for text in sorted(shown))} |"]
    return "\n".join(lines) + "\n"


def test_the_page_has_these_lists() -> None:
    assert table() in PAGE.read_text(encoding="utf-8"), (
        "python -m tests.autodiff.test_scipy_calls writes them"
    )


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    begin, end = text.index("| `scipy.` |"), text.rindex("|\n") + 2
    PAGE.write_text(text[:begin] + table() + text[end:], encoding="utf-8")

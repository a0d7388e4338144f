"""Diagnostics of a run: read from its folder, drawn, and told.

``diagnostics.jsonl`` has a line for each epoch that was looked at: ``epoch``, ``layers`` (``layer`` and its
numbers, from input to output) and ``verdicts`` (``kind``, ``layer``, ``message``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xpnet.plot.layers import layers_figure
from xpnet.runs.report.pictures import Picture
from xpnet.train.diagnostics.outcome import OUTCOME_RULES

__all__ = ["Diagnostics", "Verdict", "draw_diagnostics", "read_diagnostics", "with_outcome"]

# key: name of the figure, axis, title, whether a share, guide, what is to be seen
_FIGURES: dict[str, tuple[str, str, str, bool, tuple[float, str] | None, str]] = {
    "gradient_norm": (
        "gradient_norms",
        "norm of the gradient",
        "gradients",
        False,
        None,
        "Norm of each layer's gradient. Layers near the input that lie powers of ten below the output learn "
        "hardly anything: the gradient vanishes; the other way round it explodes.",
    ),
    "update_ratio": (
        "update_ratios",
        "norm of update / norm of weights",
        "updates",
        False,
        (1e-3, "0.001, a usual size"),
        "How far each layer's weights move in a step, relative to their size. Around 0.001 is usual; much "
        "more is restless, much less is slow.",
    ),
    "activation_rms": (
        "activation_scale",
        "root mean square",
        "activations",
        False,
        None,
        "Root mean square of what each layer passes on. It should neither fade nor grow from layer to layer.",
    ),
    "dead": (
        "dead_units",
        "share of units",
        "dead units",
        True,
        None,
        "Share of units that are zero for every row looked at: they learn nothing.",
    ),
    "saturated": (
        "saturated_units",
        "share of outputs",
        "saturation",
        True,
        None,
        "Share of outputs at the flat ends of the activation, where the gradient is nearly zero.",
    ),
}


@dataclass(frozen=True)
class Verdict:
    """A fault that was found, and in which epochs."""

    kind: str
    layer: str
    message: str
    first: int
    last: int


@dataclass(frozen=True)
class Diagnostics:
    """Diagnostics of a training.

    Attributes:
        epochs: when it was looked at, rising.
        layers: by key and name of the layer, a finite number for each epoch, or None.
        verdicts: each fault of each layer once.
    """

    epochs: list[int]
    layers: dict[str, dict[str, list[float | None]]]
    verdicts: list[Verdict]


def read_diagnostics(path: Path) -> Diagnostics | None:
    """Return the diagnostics in a file; None if it is missing or empty.

    A line that a killed process left half-written says nothing; of an epoch that was trained twice the
    second time counts.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    found: dict[int, Mapping[str, Any]] = {}
    for line in text.splitlines():
        try:
            row = json.loads(line)
            found[int(row["epoch"])] = row
        except (ValueError, TypeError, KeyError, RecursionError):  # the last one: nested without end
            continue
    rows = [found[epoch] for epoch in sorted(found)]
    if not rows:
        return None
    names = list(dict.fromkeys(str(layer["layer"]) for row in rows for layer in row.get("layers", ())))
    numbers = [{str(layer["layer"]): layer for layer in row.get("layers", ())} for row in rows]

    def course(key: str, name: str) -> list[float | None]:
        return [_number(at.get(name, {}).get(key)) for at in numbers]

    layers = {key: {name: course(key, name) for name in names} for key in _FIGURES}
    for name in names:
        # a layer without weights has no gradient, which is no gradient of size 0
        if not any(any(course(key, name)) for key in ("weight_norm", "gradient_norm", "update_ratio")):
            layers["gradient_norm"][name] = [None] * len(rows)
    return Diagnostics(sorted(found), layers, _verdicts(rows))


def with_outcome(found: Diagnostics | None, verdicts: Iterable[Mapping[str, Any]]) -> Diagnostics | None:
    """Return the diagnostics with the verdicts on losses and scores, which no layer has.

    Args:
        found: of the layers; None without.
        verdicts: as in ``results.json``, those on layers among them.
    """
    kinds = {rule.__name__.replace("_", " ") for rule in OUTCOME_RULES}
    made = [
        Verdict(one["kind"], one["layer"], one["message"], one["epoch"], one["epoch"])
        for one in verdicts
        if one["kind"].replace("-", " ") in kinds
    ]
    if found is None:
        return Diagnostics([], {key: {} for key in _FIGURES}, made) if made else None
    return replace(found, verdicts=[*made, *found.verdicts])


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _verdicts(rows: list[Mapping[str, Any]]) -> list[Verdict]:
    """Return the verdicts, each kind and layer once, with the message of the last time."""
    made: dict[tuple[str, str], Verdict] = {}
    for row in rows:
        for verdict in row.get("verdicts", ()):
            key = str(verdict.get("kind", "")), str(verdict.get("layer") or "")
            epoch = int(row["epoch"])
            first = made[key].first if key in made else epoch
            made[key] = Verdict(*key, str(verdict.get("message", "")), first, epoch)
    return list(made.values())


def draw_diagnostics(found: Diagnostics, folder: Path, title: str) -> list[Picture]:
    """Draw the measures, one figure for each kind of number.

    Args:
        found: what was measured.
        folder: where the figures are saved.
        title: what was trained.
    """
    pictures = []
    for key, (name, label, heading, share, guide, description) in _FIGURES.items():
        layers = {
            layer: row for layer, row in found.layers[key].items() if any(value is not None for value in row)
        }
        if layers:
            figure = layers_figure(
                found.epochs, layers, label=label, title=f"{title}: {heading}", share=share, guide=guide
            )
            pictures.append(Picture.saved(folder / f"{name}.svg", figure, description))
    return pictures

"""Schemas of the JSON files of a run folder; see `xpnet.schema`."""

from __future__ import annotations

import re

from xpnet import checks
from xpnet.checks import Check, require
from xpnet.schema import ANY, NUMBER, SHA256, TEXT

__all__ = ["COLUMNS", "ENVIRONMENT", "PRUNING", "RESULTS", "TUNING"]

_WHOLE = checks.whole(0)
_OR_NULL = (None, NUMBER)
_NUMBERS = {...: _OR_NULL}
_CELL = (None, NUMBER, TEXT, checks.flag)
_INTERVAL = [NUMBER, NUMBER]

_RUN = {
    "time": TEXT,
    "command": [TEXT],
    "versions": {...: (None, TEXT)},
    "platform": TEXT,
    "processor": TEXT,
    "cpus": (None, _WHOLE),
    "memory": {"total": _OR_NULL, "available": _OR_NULL},
    "blas": [TEXT],
    "compiled_products?": {"library": (None, TEXT), "reason": TEXT},
    "backend": {"name": TEXT, "spec": TEXT, "reason": TEXT, "version": (None, TEXT)},
}

ENVIRONMENT = {
    **_RUN,
    "data": {"name": TEXT, "built_in": checks.flag, "rows": _WHOLE, "columns": _WHOLE, "sha256": SHA256},
    "changes?": [{"epoch": _WHOLE, "setting": TEXT, "before": ANY, "after": ANY}],
    "resumed?": [{"epoch": _WHOLE, **_RUN}],
    "pruned_from?": {"run": TEXT, "epoch": _WHOLE},
}

_ACCURACY = Check("accuracy", lambda value: require(value == "accuracy", value))
_DECISION = {"column": (None, TEXT), "what": TEXT, "why": TEXT, "warning": checks.flag}
COLUMNS = {
    "name": TEXT,
    "rows": _WHOLE,
    "target": [TEXT],
    "task": TEXT,
    "columns": [
        {
            "name": TEXT, "role": TEXT, "kind": TEXT, "missing": _WHOLE, "categories": (None, _WHOLE),
            "examples": [_CELL], "low": _CELL, "high": _CELL, "features": _WHOLE, "decided": TEXT,
            "why": TEXT,
        }
    ],
    "advice": [_DECISION],
    "problems": [TEXT],
    "baseline": [
        (
            {"target": TEXT, "value": NUMBER, "metric": TEXT, "score": NUMBER},
            {"target": TEXT, "value": _CELL, "metric": _ACCURACY, "score": NUMBER},
        )
    ],
}  # fmt: skip

_PARTS = {"train": _WHOLE, "validation": _WHOLE, "test": _WHOLE}
RESULTS = {
    "data": TEXT,
    "target": (TEXT, [TEXT]),
    "task": TEXT,
    "rows": _PARTS,
    "metrics": {f"{part}?": _NUMBERS for part in _PARTS},
    "target_metrics?": {f"{part}?": {...: _NUMBERS} for part in _PARTS},
    "intervals?": {f"{part}?": {...: _INTERVAL} for part in _PARTS},
    "target_intervals?": {f"{part}?": {...: {...: _INTERVAL}} for part in _PARTS},
    "baseline?": (None, {"prediction": {...: ANY}, "metrics": {f"{part}?": _NUMBERS for part in _PARTS}}),
    "decisions?": [_DECISION],
    "advice?": [{"why": TEXT, "set": {...: ANY}}],
    "device": TEXT,
    "epochs": _WHOLE,
    "patience?": (None, _WHOLE),
    "best_by?": TEXT,
    "ema_decay?": NUMBER,
    "swa_start?": _WHOLE,
    "folds?": _WHOLE,
    "time_limit?": _OR_NULL,
    "epochs_open?": checks.flag,
    "timed_out?": checks.flag,
    "epochs_trained": _WHOLE,
    "steps": _WHOLE,
    "best_epoch": (None, _WHOLE),
    "refit_epochs?": _WHOLE,
    "stopped": TEXT,
    "seconds": NUMBER,
    "peak_memory?": _OR_NULL,
    "restarts?": {
        "n": _WHOLE, "lost": _WHOLE, "best": _WHOLE, "seed": _WHOLE, "measured_by": TEXT, "count": _WHOLE,
        "minimum": NUMBER, "median": NUMBER, "maximum": NUMBER, "standard_deviation": NUMBER,
    },
    "run": TEXT,
    ...: ANY,
}  # fmt: skip

_PROFILE = {
    "metrics": _NUMBERS, "weights": checks.count, "nonzero": _WHOLE, "bytes": _WHOLE,
    "sparse_bytes": (None, _WHOLE), "rows": _WHOLE, "milliseconds": _OR_NULL, "sparse_milliseconds": _OR_NULL,
    "sparsity?": NUMBER,
}  # fmt: skip

PRUNING = {
    "source": TEXT,
    "settings": {...: ANY},  # checked by their own table
    "file": Check(
        "the name of a round's checkpoint, such as round-3.safetensors",
        lambda name: require(re.fullmatch(r"round-\d+\.safetensors", name, re.ASCII) is not None, name),
    ),
    "progress": {
        "rounds": [
            {
                "round": _WHOLE, "sparsity": NUMBER, "nonzero": _WHOLE, "widths?": [checks.count],
                "epoch": _WHOLE, "kept": checks.flag, "pruned": _NUMBERS, "retrained": _NUMBERS,
            },
        ],
        "before": _PROFILE,
        "after": (None, _PROFILE),
        "stopped": TEXT,
        "reached?": checks.flag,
    },
}  # fmt: skip

TUNING = {
    "settings": {...: ANY},  # checked by their own table
    "trials": (None, checks.count),
    "time_limit": _OR_NULL,
    "data": {"name": TEXT, "sha256": SHA256},
    "versions": {...: (None, TEXT)},
}

"""Results in words, alike in reports and on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xpnet.text import count, shown

__all__ = [
    "HEADINGS",
    "baseline_in_words",
    "interval_in_words",
    "length_in_words",
    "number",
    "parts_in_words",
    "products",
    "score_table",
    "target_in_words",
    "weights_in_words",
]

HEADINGS = {
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "balanced_accuracy": "balanced",
    "subset_accuracy": "all labels",
    "f1": "F1",
    "f1_micro": "F1 (micro)",
}
"""Headings of metrics that are not their names."""

_LOWEST_LOSS = "lowest validation loss"
_SHARES = ("accuracy", "balanced_accuracy", "subset_accuracy")


def target_in_words(told: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of what is predicted, and what it is.

    >>> target_in_words({"target": "kind", "classes": ["rose", "tulip"]})
    ('kind', '2 classes')
    >>> target_in_words({"target": ["width", "length"], "classes": []})
    ('width, length', 'numbers')
    >>> target_in_words({"target": ["warm", "wet"], "classes": {"warm": [0, 1], "wet": [0, 1]}})
    ('warm, wet', '2 classes each')
    """
    target, classes = told["target"], told["classes"]
    names = target if isinstance(target, str) else ", ".join(target)
    if isinstance(classes, Mapping):
        numbers = {len(found) for found in classes.values()}
        return names, f"{'/'.join(map(str, sorted(numbers)))} classes each"
    return names, count(len(classes), "class", "classes") if classes else "numbers"


def products(told: Mapping[str, Any]) -> str:
    """Return how exact matrix products are, where they are not as exact as the dtype.

    >>> products({"precision": "tf32"}), products({"precision": "float32"})
    (', products in tf32', '')
    """
    return ", products in tf32" if told.get("precision") == "tf32" else ""


def number(name: str, value: float | None) -> str:
    """Return the value of a metric for people.

    >>> number("accuracy", 0.9721), number("loss", 0.06251), number("rmse", None)
    ('97.21 %', '0.0625', '-')
    """
    if value is None:
        return "-"
    if name in _SHARES:
        return f"{100 * value:.2f} %"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"


def score_table(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of a table of scores: of each part, and of a constant prediction.

    Behind the main metric stands its 95 % interval for rows that were held out; those of training, on which
    the weights were chosen, have none.

    Args:
        results: with ``metrics``, a dict of a dict of numbers for each part, ``rows``, ``target``, and, if
            known, ``intervals`` and ``baseline``.
    """
    metrics, target = results["metrics"], results["target"]
    names = list(dict.fromkeys(name for values in metrics.values() for name in values))
    main = next((name for name in ("accuracy", "r2") if name in names), None)
    spelled = HEADINGS | {name: f"{HEADINGS[name]} of {target}" for name in ("rmse", "mae")}
    headings = ["rows of", "rows"]
    for name in names:
        headings += [spelled.get(name, name), *(["95 %"] if name == main else [])]

    def cells(first: str, count: str, values: Mapping[str, Any], ends: Mapping[str, Any]) -> list[str]:
        made = [first, count]
        for name in names:
            made.append(number(name, values.get(name)))
            made += [interval_in_words(name, ends.get(name)) or "-"] if name == main else []
        return made

    known, parts, rows = results.get("intervals", {}), parts_in_words(results), []
    for part, values in metrics.items():
        ends = {} if part == "train" else known.get(part, {})
        rows.append(cells(parts[part], f"{results['rows'][part]:,}", values, ends))
    baseline = results.get("baseline")
    if baseline and rows:
        last = list(metrics)[-1]
        values = baseline["metrics"].get(last, {})
        rows.append(cells(baseline_in_words(baseline["prediction"]), "", values, {}))
    return headings, rows


def parts_in_words(told: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the parts of a table: the validation rows of folds are training rows as well.

    >>> parts_in_words({"rows": {"train": 8, "validation": 8, "test": 2}, "folds": 5})["validation"]
    'validation (training rows, out of fold)'
    """
    folds = " (training rows, out of fold)" if told.get("folds") else ""
    return {part: part + folds * (part == "validation") for part in told["rows"]}


def baseline_in_words(prediction: Mapping[str, Any]) -> str:
    """Return what is always predicted.

    >>> baseline_in_words({"kind": "rose"}), baseline_in_words({"price": 3.14159})
    ("always 'rose'", 'always 3.142')
    >>> baseline_in_words({"warm": 1, "wet": 0})
    'a constant'
    """
    if len(prediction) != 1:
        return "a constant"
    (value,) = prediction.values()
    if isinstance(value, float):
        return f"always {value:.4g}"
    return f"always '{shown(str(value), 24)}'"


def interval_in_words(name: str, ends: Sequence[float] | None) -> str:
    """Return an interval of a metric for people; empty if there is none.

    >>> interval_in_words("accuracy", [0.2066, 1.0]), interval_in_words("r2", [0.8123, 0.95])
    ('20.7 to 100 %', '0.812 to 0.950')
    """
    if ends is None:
        return ""
    if name in _SHARES:
        return f"{100 * ends[0]:.3g} to {100 * ends[1]:.3g} %"
    return f"{ends[0]:.3f} to {ends[1]:.3f}"


def weights_in_words(told: Mapping[str, Any]) -> str:
    """Return which weights predict.

    >>> weights_in_words({"best_epoch": 215, "refit_epochs": 0})
    'of epoch 215, that of the lowest validation loss'
    >>> weights_in_words({"best_epoch": 9, "best_by": "highest validation accuracy"})
    'of epoch 9, that of the highest validation accuracy'
    >>> weights_in_words({"best_epoch": None})
    'of the last epoch'
    >>> weights_in_words({"best_epoch": None, "ema_decay": 0.99})
    'of the last epoch (exponential moving averages, decay 0.99)'
    """
    mean = _mean_in_words(told)
    if told["best_epoch"] is None:
        return f"of the last epoch{mean}"
    words = f"of epoch {told['best_epoch']}, that of the {told.get('best_by', _LOWEST_LOSS)}{mean}"
    more = told.get("refit_epochs")
    if not more:
        return words
    return f"{words}; then {more} epochs with the validation rows, whose scores are from before"


def _mean_in_words(told: Mapping[str, Any]) -> str:
    if told.get("ema_decay"):
        return f" (exponential moving averages, decay {told['ema_decay']:g})"
    return f" (means from epoch {told['swa_start']} on)" if told.get("swa_start") else ""


def length_in_words(told: Mapping[str, Any]) -> str:
    """Return how long a training goes on.

    >>> told = {"epochs": 1000, "patience": 25, "time_limit": 600.0, "epochs_open": True}
    >>> print(length_in_words(told))
    until the validation loss has not fallen for 25 epochs, 1,000 epochs or 600 s at most
    >>> print(length_in_words({**told, "best_by": "highest validation accuracy"}))
    until the validation accuracy has not risen for 25 epochs, 1,000 epochs or 600 s at most
    >>> length_in_words({**told, "patience": None, "epochs_open": False, "time_limit": None})
    'for 1,000 epochs'
    """
    epochs = count(told["epochs"], "epoch")
    most = epochs if told["time_limit"] is None else f"{epochs} or {told['time_limit']:g} s"
    if told["patience"] is None:
        return f"for {most}"
    extreme, _, column = str(told.get("best_by", _LOWEST_LOSS)).partition(" ")
    turned = "risen" if extreme == "highest" else "fallen"
    words = f"until the {column} has not {turned} for {count(told['patience'], 'epoch')}, {most} at most"
    more = told.get("refit_epochs")
    return f"{words}; then {count(more, 'epoch')} with the validation rows" if more else words

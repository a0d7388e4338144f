"""Results in words, alike in reports and on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpnet.text import count

__all__ = ["number", "products", "target_in_words"]

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

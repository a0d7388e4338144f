"""Settings changed on resume."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

__all__ = ["Change", "find_changes"]


@dataclasses.dataclass(frozen=True)
class Change:
    """A setting whose value changed between two epochs.

    Attributes:
        epoch: the first epoch that is trained with the new value, counted from 1.
        setting: its name.
        before, after: its values.

    >>> print(Change(21, "l2", 0.0, 0.001))
    l2: 0.0 -> 0.001 (from epoch 21 on)
    """

    epoch: int
    setting: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.setting}: {_text(self.before)} -> {_text(self.after)} (from epoch {self.epoch} on)"


def find_changes(before: Mapping[str, Any], after: Mapping[str, Any], epoch: int) -> list[Change]:
    """Return the differences between two tables of settings, including nested tables and lists.

    Args:
        before, after: values by name; one that a table lacks counts as None.
        epoch: the first one with the new values.

    >>> old = {"optimizer": {"name": "adam", "learning_rate": 0.001}, "l2": 0.0}
    >>> new = {"optimizer": {"name": "adam", "learning_rate": 0.002}, "l2": 0.0}
    >>> [str(change) for change in find_changes(old, new, 3)]
    ['optimizer.learning_rate: 0.001 -> 0.002 (from epoch 3 on)']
    """
    found: list[Change] = []
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if _same_kind(old, new):
            inner = find_changes(_table(old), _table(new), epoch)
            found += [dataclasses.replace(change, setting=f"{name}.{change.setting}") for change in inner]
        else:
            found.append(Change(epoch, name, old, new))
    return found


def _same_kind(old: Any, new: Any) -> bool:
    """True for two tables of the same thing, such as two of Adam, and for two lists of the same length."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return all(old.get(word) == new.get(word) for word in ("name", "layer"))
    return isinstance(old, list) and isinstance(new, list) and len(old) == len(new)


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {str(i): item for i, item in enumerate(value)}


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name}={_text(item)}" for name, item in value.items() if name != "name")
        return f"{value['name']}({inner})" if "name" in value else f"{{{inner}}}"
    return str(value)

"""Decisions about a table: how cells were read and columns were taken where there was a choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Decision"]


@dataclass(frozen=True)
class Decision:
    """A choice that was made about a table or one of its columns, to be shown and kept with the run.

    Attributes:
        column: name of the column; None: the whole table.
        what: was decided, such as "read as numbers with ',' between thousands".
        why: the reason, such as "all 40 cells look like 1,234.5".
        warning: it may well not be what was meant, so it is shown as a warning.
    """

    column: str | None
    what: str
    why: str = ""
    warning: bool = False

    def __str__(self) -> str:
        """Return the decision as one line."""
        place = "" if self.column is None else f"column '{self.column}' "
        return f"{place}{self.what}{f': {self.why}' if self.why else ''}"

    def to_json(self) -> dict[str, Any]:
        """Return the decision as JSON values."""
        return {"column": self.column, "what": self.what, "why": self.why, "warning": self.warning}

"""Decisions about a table: how cells were read and columns were taken where there was a choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet.errors import Words

__all__ = ["Decision"]


@dataclass(frozen=True)
class Decision:
    """A choice that was made about a table or one of its columns, to be shown and kept with the run.

    Attributes:
        column: name of the column; None: the whole table.
        what: was decided, with places for settings (`errors.use`), such as "read as numbers with ','
            between thousands".
        why: the reason, such as "all 40 cells look like 1,234.5".
        warning: it may well not be what was meant, so it is shown as a warning.
    """

    column: str | None
    what: str
    why: str = ""
    warning: bool = False

    def __str__(self) -> str:
        """Return the decision as one line, in the words of Python."""
        return Words(self.text)

    @property
    def text(self) -> str:
        """The line with its places for settings, to be part of another one."""
        place = "" if self.column is None else f"column '{self.column}' "
        return f"{place}{self.what}{f': {self.why}' if self.why else ''}"

    def to_json(self) -> dict[str, Any]:
        """Return the decision as JSON values."""
        return {
            "column": self.column,
            "what": str(Words(self.what)),
            "why": str(Words(self.why)),
            "warning": self.warning,
        }

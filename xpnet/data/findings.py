"""Findings about a table, collected over its columns: decisions that were made, and problems that stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xpnet.data.decisions import Decision
from xpnet.errors import DataError, Words

__all__ = ["Findings", "TableError", "listed_names"]

_MOST_ALIKE = 8  # decisions of one kind that are told one by one
_MOST_NAMED = 10
_MOST_PROBLEMS = 20


class TableError(DataError):
    """Several problems of one table.

    Attributes:
        problems: the errors, each of which would have stopped alone.
    """

    def __init__(self, problems: Sequence[DataError]):
        self.problems = tuple(problems)
        told = [f"({number}) {error.text}" for number, error in enumerate(problems[:_MOST_PROBLEMS], 1)]
        more = len(problems) - len(told)
        if more:
            told.append(f"and {more:,} more")
        super().__init__(f"the table has {len(problems):,} problems: {'; '.join(told)}")

    @property
    def lines(self) -> list[Words]:
        """A heading, and each problem with its number."""
        told = [Words(f"{number}. {error.text}") for number, error in enumerate(self.problems, 1)]
        left = len(told) - _MOST_PROBLEMS
        if left > 0:
            told[_MOST_PROBLEMS:] = [Words(f"and {left:,} more")]
        return [Words(f"the table has {len(self.problems):,} problems"), *told]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)


@dataclass(frozen=True)
class _Noted:
    decision: Decision
    cells: int


class _Collecting:
    """A context that adds the `DataError` raised inside to problems."""

    def __init__(self, problems: list[DataError]):
        self.problems = problems

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        """Take the error, if it is one of data."""
        if not isinstance(error, DataError):
            return False
        self.problems += error.problems if isinstance(error, TableError) else [error]
        return True


class Findings:
    """Decisions and problems, collected while the columns of a table are looked at one after another.

    Example:
        >>> findings = Findings()
        >>> with findings.collecting():
        ...     raise DataError("column 'a' holds lists")
        >>> findings.decide("b", "left out as constant", "it is 7 in all 40 rows")
        >>> [str(decision) for decision in findings.decisions]
        ["column 'b' left out as constant: it is 7 in all 40 rows"]
        >>> findings.raise_problems()
        Traceback (most recent call last):
        ...
        xpnet.errors.DataError: column 'a' holds lists
    """

    def __init__(self) -> None:
        self.problems: list[DataError] = []
        self._noted: list[_Noted] = []

    def decide(
        self, column: str | None, what: str, why: str = "", *, warning: bool = False, cells: int = 0
    ) -> None:
        """Note a decision; those with the same ``what`` are told as one where there are many of them.

        Args:
            column, what, why, warning: as in a `Decision`.
            cells: how many cells it is about, which is told of many together.
        """
        self._noted.append(_Noted(Decision(column, what, why, warning), cells))

    def take(self, other: Findings) -> None:
        """Take over the decisions and problems of others."""
        self.problems += other.problems
        self._noted += other._noted

    def collecting(self) -> _Collecting:
        """Return a context that takes a `DataError` raised inside for a problem, and goes on."""
        return _Collecting(self.problems)

    def raise_problems(self) -> None:
        """Raise the problems, if there are any: the one, or a `TableError` of all."""
        if len(self.problems) == 1:
            raise self.problems[0]
        if self.problems:
            raise TableError(self.problems)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions in the order in which they were made, many alike as one."""
        alike: dict[tuple[str, bool], list[_Noted]] = {}
        for noted in self._noted:
            alike.setdefault((noted.decision.what, noted.decision.warning), []).append(noted)
        told: list[Decision] = []
        for (what, warning), group in alike.items():
            if len(group) <= _MOST_ALIKE:
                told += [noted.decision for noted in group]
                continue
            names = [noted.decision.column for noted in group]
            cells = sum(noted.cells for noted in group)
            why = f"{cells:,} cells in all" if cells else f"for example, {group[0].decision.why}"
            told.append(Decision(None, f"{listed_names(names)} {what}", why, warning))
        return tuple(told)


def listed_names(names: Sequence[Any]) -> str:
    """Return the names of columns, of many the first ones and how many there are.

    >>> listed_names(["a", "b"])
    "columns 'a', 'b'"
    """
    told = ", ".join(f"'{name}'" for name in names[:_MOST_NAMED])
    if len(names) == 1:
        return f"column {told}"
    return f"columns {told}" if len(names) <= _MOST_NAMED else f"{len(names):,} columns ({told}, ...)"

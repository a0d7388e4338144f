"""Report of a comparison of devices: figures and verdicts, as a table and as JSON data."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

from xpnet.train.agreement.differences import ratio
from xpnet.train.agreement.measurement import CHECKS

__all__ = ["ParityReport", "ParityRow"]


@dataclasses.dataclass(frozen=True)
class ParityRow:
    """One check of one training on one device.

    Attributes:
        device: what was compared with the reference.
        network, loss: what was trained.
        dtype: of the training; ``"integers"`` for draws.
        compile: ``"off"`` for steps that are not compiled.
        check: what was compared.
        compared: how many arrays.
        figure: of real numbers the largest difference over the largest number of the array; of integers how
            many differ; None where one is NaN or infinite and the other is not.
        tolerance: the most that rounding alone can make of the figure; 0 for integers.
        verdict: ``"agree"``, ``"differ"``, or ``"undecided"`` where the tolerance is too large to tell.
        name: the array in which the figure is largest in units of its tolerance.
        entry: its index of that entry; None if there is none that differs.
        expected, found: that entry on the reference and on the device.
        undecided: names of arrays whose tolerance is a tenth or more, too wide for a verdict.
        note: what else there is to say.
    """

    device: str
    network: str
    loss: str
    dtype: str
    compile: str
    check: str
    compared: int
    figure: float | None
    tolerance: float
    verdict: str
    name: str
    entry: tuple[int, ...] | None
    expected: float | None
    found: float | None
    undecided: tuple[str, ...] = ()
    note: str = ""

    @property
    def ratio(self) -> float:
        """The figure in units of its tolerance."""
        return ratio(self.figure, self.tolerance)

    @property
    def where(self) -> str:
        """The training and the entry, in words."""
        place = f"{self.network}, {self.loss}, compile {self.compile}: {self.name}"
        return place if self.entry is None else f"{place}[{', '.join(map(str, self.entry))}]"


@dataclasses.dataclass(frozen=True)
class ParityReport:
    """Whether devices compute the same; ``print(report)`` shows a table.

    Attributes:
        reference: the device with which the others were compared; its steps were not compiled.
        devices: all of them.
        versions: of xpnet and of the devices' libraries.
        steps: how many each training took.
        rows: the checks.
        notes: what was left out, and why.
        seconds: how long it took.
    """

    reference: str
    devices: tuple[str, ...]
    versions: dict[str, str]
    steps: int
    rows: tuple[ParityRow, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def agree(self) -> bool:
        """True if no row differs."""
        return not self.differing

    @property
    def differing(self) -> list[ParityRow]:
        """The rows that differ, in the order in which a training comes to them."""
        found = [row for row in self.rows if row.verdict == "differ"]
        return sorted(found, key=lambda row: CHECKS.index(row.check))

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON data."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        return {"agree": self.agree, **dataclasses.asdict(self), "rows": rows}

    def __str__(self) -> str:
        lines: list[tuple[str, ...]] = [
            ("device", "dtype", "check", "arrays", "difference", "tolerance", "verdict")
        ]
        lines += [_summed_up(group) for group in _grouped(self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = (str.ljust, str.ljust, str.ljust, str.rjust, str.rjust, str.rjust, str.ljust)
        table = [
            "  ".join(align(cell, width) for align, cell, width in zip(aligned, line, widths, strict=True))
            for line in lines
        ]
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return "\n".join(line.rstrip() for line in [*table, "", *self._facts(), f"versions  {versions}"])

    def _facts(self) -> Iterable[str]:
        networks = dict.fromkeys(row.network for row in self.rows)
        yield f"reference {self.reference}, not compiled; {', '.join(networks)}; {self.steps} steps"
        for device in dict.fromkeys(row.device for row in self.differing):
            first = next(row for row in self.differing if row.device == device)
            yield (
                f"{device} differs first in {first.check} ({first.dtype}; {first.where}): "
                f"{self.reference} has {_number(first.expected)}, {device} {_number(first.found)}"
                + (f"; {first.note}" if first.note else "")
            )
        undecided = dict.fromkeys(f"{name} ({row.check})" for row in self.rows for name in row.undecided)
        if undecided:
            yield f"undecided, as rounding alone moves them by a tenth or more: {', '.join(undecided)}"
        yield from self.notes
        yield "all devices agree" if self.agree else "devices differ"


def _grouped(rows: Iterable[ParityRow]) -> Iterable[list[ParityRow]]:
    """Yield rows of the same device, dtype and check, in that order."""
    devices, dtypes = [row.device for row in rows], ("integers", "float32", "float64")

    def place(row: ParityRow) -> tuple[int, int, int]:
        return devices.index(row.device), dtypes.index(row.dtype), CHECKS.index(row.check)

    for _, group in itertools.groupby(sorted(rows, key=place), place):
        yield list(group)


def _summed_up(rows: list[ParityRow]) -> tuple[str, ...]:
    """Return a line of the table: the worst of rows."""
    worst = max(rows, key=lambda row: (row.verdict == "differ", row.ratio))
    compared = f"{sum(row.compared for row in rows):,}"
    figure, tolerance = map(_short, (worst.figure, worst.tolerance))
    undecided = sum(len(row.undecided) for row in rows)
    verdict = f"{worst.verdict}, {undecided} undecided" if undecided else worst.verdict
    return worst.device, worst.dtype, worst.check, compared, figure, tolerance, verdict


def _short(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:.0f}" if value.is_integer() else f"{value:.1e}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.9g}"

"""Devices compared: the same draws, gradients, parameters after some steps, and predictions."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import xpnet
from xpnet import backends, checks
from xpnet.backends import Backend, probe
from xpnet.errors import BackendError, ConfigError, DivergedError, suggest
from xpnet.train import targets
from xpnet.train.agreement import tolerance
from xpnet.train.agreement.measurement import Case, Measured, draws, measure, moved
from xpnet.train.agreement.networks import BATCH_SIZE, NETWORKS, digits_inputs, digits_targets
from xpnet.train.agreement.report import ParityReport, ParityRow
from xpnet.train.diagnostics.trying import begun_copy
from xpnet.train.trainer import Trainer

__all__ = ["parity"]

_DTYPES = ("float32", "float64")
_MODES = ("off", "auto")


def parity(
    devices: Sequence[str | Backend] = ("numpy", "cuda"),
    *,
    trainer: Trainer | None = None,
    X: Any = None,
    y: Any = None,
    batch_size: int | None = BATCH_SIZE,
    sample_weight: Any = None,
    class_weight: Any = None,
    networks: Sequence[str] | None = None,
    steps: int = 32,
    dtype: str | None = None,
) -> ParityReport:
    """Compare what devices draw and compute, from the initial weights to the predictions after some steps.

    The first device, with steps that are not compiled, is the reference. Draws must be the same bit by bit;
    everything else within what rounding can do, in the sense of :mod:`xpnet.train.agreement.tolerance`.
    Each device is compared with steps compiled and not compiled.

    Args:
        devices: at least two, as for :func:`xpnet.backend`.
        trainer: a trainer of your own, trained or not; it stays as it is. None compares three built-in
            networks on the digits, which together have every layer that trains and every loss.
        X, y, sample_weight, class_weight: its training rows, as for :meth:`xpnet.Trainer.fit`.
        batch_size: its rows of a step, at most as many as there are; None for all.
        networks: names of the built-in networks; None: all.
        steps: how many steps are taken.
        dtype: ``"float32"`` or ``"float64"``; None: both, as far as both devices have them.

    Raises:
        BackendError: a device that cannot work, or lacks the dtype that was asked for.
        ConfigError: fewer than two devices, or arguments that do not go together.
        DataError: rows that do not fit the trainer.
        DivergedError: the training diverges on the reference.

    Example:
        >>> report = parity(("numpy", "array_api_strict"), networks=["layer norm"], steps=2, dtype="float64")
        >>> report.agree
        True
    """
    begun = time.perf_counter()
    homes = _checked_devices(devices)
    steps = checks.count("steps", steps)
    cases = _built_in(networks, steps)
    if trainer is not None:
        cases = [_case_of(trainer, X, y, sample_weight, class_weight, batch_size, steps)]
    elif X is not None or y is not None:
        raise ConfigError("trainer: expected the trainer of the rows X and y, found None; pass it")
    dtypes = list(_DTYPES)
    if dtype is not None:
        if dtype not in _DTYPES:
            raise ConfigError(f"dtype: expected 'float32' or 'float64', found {dtype!r}")
        for home in homes:
            home.dtype(dtype)
        dtypes = [dtype]
    reference, *others = homes
    known = {home.spec: [d for d in dtypes if _has(home, d)] for home in homes}
    notes = [
        f"{home.spec} has no {d}: left out" for home in homes for d in dtypes if d not in known[home.spec]
    ]
    rows: list[ParityRow] = []
    for case in cases:
        compared = _Comparison(case, reference)
        for home, mode in [(reference, "auto"), *((home, mode) for home in others for mode in _MODES)]:
            rows += compared.rows_of(home, mode, [d for d in known[home.spec] if d in known[reference.spec]])
    versions = {"xpnet": xpnet.__version__} | {home.name: probe(home.name).version for home in homes}
    return ParityReport(
        reference.spec, tuple(home.spec for home in homes), versions, steps, tuple(rows), tuple(notes),
        round(time.perf_counter() - begun, 3),
    )  # fmt: skip


def _checked_devices(devices: Any) -> list[Backend]:
    if isinstance(devices, (str, Backend)) or len(devices) < 2:
        raise ConfigError(
            f"devices: expected at least two, the first of them the reference, found {devices!r}; name "
            "another, as in parity(('numpy', 'cuda'))"
        )
    return [backends.backend(device) for device in devices]


def _has(home: Backend, dtype: str) -> bool:
    try:
        home.dtype(dtype)
    except BackendError:
        return False
    return True


def _built_in(names: Sequence[str] | None, steps: int) -> list[Case]:
    """Return the trainings of the built-in networks: with steps for the first loss of each."""
    known = {network.name: network for network in NETWORKS}
    for name in names or ():
        if name not in known:
            raise ConfigError(f"networks: expected built-in ones, found {name!r}{suggest(name, known)}")
    X = digits_inputs()
    return [
        Case(
            name, loss, network.trainer(loss), X, digits_targets(loss), None, BATCH_SIZE,
            steps if loss == network.losses[0] else 0,
        )
        for name, network in known.items()
        if names is None or name in names
        for loss in network.losses
    ]  # fmt: skip


def _case_of(
    trainer: Trainer, X: Any, y: Any, weight: Any, class_weight: Any, batch_size: int | None, steps: int
) -> Case:
    """Return a training of the user's own, its rows checked and its class weights among those of the rows."""
    if not isinstance(trainer, Trainer):
        raise ConfigError(f"trainer: expected an xpnet.Trainer, found {trainer!r}; make one")
    if X is None or y is None:
        raise ConfigError("X, y: expected the rows to train on, found None; pass parity(..., X=X, y=y)")
    host = backends.backend("numpy")
    _, rows = begun_copy(moved(trainer, host, "float64", "off"), X, y, weight, class_weight)
    size = None if batch_size is None else min(checks.count("batch_size", batch_size), len(rows.X))
    name = targets.name_of(trainer.loss)
    return Case("own", name, trainer, rows.X, rows.y, rows.weight, size, steps)


class _Found(NamedTuple):
    """How an array compares with the reference's."""

    name: str
    figure: float | None
    tolerance: float
    entry: tuple[int, ...] | None
    expected: float | None
    found: float | None

    @property
    def verdict(self) -> str:
        if self.figure is not None and self.figure <= self.tolerance and self.tolerance < 1.0:
            return "agree"
        return "undecided" if self.figure is not None and self.tolerance >= 1.0 else "differ"


class _Comparison:
    """Compares one training on devices with the same on the reference.

    Args:
        case: the training.
        reference: the device whose numbers count.
    """

    def __init__(self, case: Case, reference: Backend):
        self._case, self._reference = case, reference
        self._draws: Measured | None = None
        self._known: dict[str, tuple[Measured, list[Measured]]] = {}

    def rows_of(self, home: Backend, mode: str, dtypes: Sequence[str]) -> Iterator[ParityRow]:
        """Yield the rows of a device."""
        case = self._case
        if case.steps:
            if self._draws is None:
                self._draws = draws(case, self._reference, dtypes[0], "off")
            drawn = draws(case, home, dtypes[0], mode)["draws"]
            found = [_whole(name, x, drawn[name]) for name, x in self._draws["draws"].items()]
            yield self._row(home, "integers", mode, "draws", found)
        for dtype in dtypes:
            if dtype not in self._known:
                changes = [tolerance.change(dtype, number) for number in range(tolerance.CHANGES)]
                first, *moved_by = [
                    measure(case, self._reference, dtype, "off", change) for change in (None, *changes)
                ]
                self._known[dtype] = first, moved_by
            try:
                measured = measure(case, home, dtype, mode)
            except DivergedError as error:
                lost = _Found("loss", None, 0.0, None, None, None)
                yield self._row(home, dtype, mode, "parameters", [lost], str(error))
                continue
            for check, arrays in self._known[dtype][0].items():
                found = [self._compare(dtype, check, name, measured[check]) for name in arrays]
                yield self._row(home, dtype, mode, check, found)

    def _compare(self, dtype: str, check: str, name: str, measured: dict[str, np.ndarray]) -> _Found:
        """Return how an array of a check compares with the reference's."""
        reference, movements = self._known[dtype]
        wanted, found = reference[check][name], measured[name]
        if wanted.dtype.kind in "iub":
            beyond = None
            if name == "predicted":
                beyond = self._decided(dtype, check, wanted)
            return _whole(name, wanted, found, beyond)
        return _real(name, wanted, found, self._tolerance(dtype, check, name))

    def _tolerance(self, dtype: str, check: str, name: str) -> float:
        """Return κ B of an array."""
        reference, movements = self._known[dtype]
        case, trainer = self._case, self._case.trainer
        wanted = reference[check][name]
        batch = case.batch_size or len(case.X)
        summed = bool(trainer.clip_norm or trainer.l1 or trainer.l2)
        count = tolerance.roundings(reference["gradient"], batch, sums_over_all=summed)
        if check in ("parameters", "statistics", "optimizer", "predictions after"):
            count *= case.steps
        figures = [_real(name, wanted, other[check][name], 0.0).figure for other in movements]
        movement = max(math.inf if figure is None else figure for figure in figures)
        return tolerance.condition(dtype, movement) * tolerance.bound(dtype, count)

    def _decided(self, dtype: str, check: str, classes: np.ndarray) -> np.ndarray:
        """Return of which predicted classes the outputs say more than rounding can."""
        outputs = self._known[dtype][0][check]["outputs"]
        room = self._tolerance(dtype, check, "outputs") * np.abs(outputs).max()
        if targets.kind_of(self._case.trainer.loss) == "classes":
            second, first = np.sort(outputs, axis=-1)[..., -2:].T
            return first - second > 2 * room
        return np.abs(outputs).reshape(classes.shape) > room

    def _row(
        self, home: Backend, dtype: str, mode: str, check: str, found: list[_Found], note: str = ""
    ) -> ParityRow:
        """Return the row of a check: its worst array."""
        case = self._case
        undecided = tuple(one.name for one in found if one.verdict == "undecided")
        decided = [one for one in found if one.verdict != "undecided"] or found

        def ratio(one: _Found) -> float:
            if one.figure is None:
                return math.inf
            return one.figure / one.tolerance if one.tolerance else math.inf if one.figure else -1.0

        worst = max(decided, key=ratio)
        return ParityRow(
            home.spec, case.network, case.loss, dtype, mode, check, len(found), worst.figure,
            worst.tolerance, worst.verdict, worst.name, worst.entry, worst.expected, worst.found,
            undecided, note,
        )  # fmt: skip


def _whole(name: str, wanted: np.ndarray, found: np.ndarray, counted: np.ndarray | None = None) -> _Found:
    """Return how many whole numbers differ, of those that count."""
    if wanted.shape != found.shape:
        return _Found(name, None, 0.0, None, None, None)
    other = wanted != found
    if counted is not None:
        other &= counted
    return _at(name, float(other.sum()), 0.0, other, wanted, found)


def _real(name: str, wanted: np.ndarray, found: np.ndarray, allowed: float) -> _Found:
    """Return the largest difference of real numbers, over the largest of the reference's."""
    a, b = (np.asarray(x, dtype=np.float64) for x in (wanted, found))
    if a.shape != b.shape:
        return _Found(name, None, allowed, None, None, None)
    both = np.isfinite(a) & np.isfinite(b)
    same = both | (a == b) | (np.isnan(a) & np.isnan(b))
    if not same.all():
        return _at(name, None, allowed, ~same, wanted, found)
    scale = np.abs(a[both]).max(initial=0.0) or 1.0
    with np.errstate(invalid="ignore"):
        apart = np.where(both, np.abs(a - b), 0.0)
    return _at(name, float(apart.max(initial=0.0) / scale), allowed, apart, wanted, found)


def _at(
    name: str, figure: float | None, allowed: float, apart: np.ndarray, wanted: np.ndarray, found: np.ndarray
) -> _Found:
    """Return the comparison with the entry that is furthest apart, if any is."""
    if not apart.any():
        return _Found(name, figure, allowed, None, None, None)
    entry = tuple(int(i) for i in np.unravel_index(int(np.argmax(apart)), apart.shape))
    return _Found(name, figure, allowed, entry, float(wanted[entry]), float(found[entry]))

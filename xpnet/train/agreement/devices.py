"""Devices compared: the same draws, gradients, parameters after some steps, and predictions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from xpnet import backends, checks
from xpnet.backends import Backend, probe
from xpnet.errors import BackendError, ConfigError
from xpnet.train import targets
from xpnet.train.agreement.comparison import Comparison
from xpnet.train.agreement.measurement import Case, moved
from xpnet.train.agreement.networks import NETWORKS, digits_inputs, digits_targets
from xpnet.train.agreement.report import ParityReport, ParityRow
from xpnet.train.diagnostics.trial import begun_copy
from xpnet.train.trainer import Trainer
from xpnet.version import __version__

__all__ = ["parity"]

_DTYPES = ("float32", "float64")
_MODES = ("off", "auto")


def parity(
    devices: Sequence[str | Backend] = ("numpy", "cuda"),
    *,
    trainer: Trainer | None = None,
    X: Any = None,
    y: Any = None,
    batch_size: int | None = 64,
    sample_weight: Any = None,
    class_weight: Any = None,
    networks: Sequence[str] | None = None,
    steps: int = 32,
    dtype: str | None = None,
) -> ParityReport:
    """Compare random draws and results of devices, from the initial weights to predictions after some steps.

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
    if trainer is None:
        _refuse("the built-in networks", X=X, y=y, sample_weight=sample_weight, class_weight=class_weight)
        cases = _built_in(networks, steps)
    else:
        _refuse("a trainer of your own", networks=networks)
        cases = [_case_of(trainer, X, y, sample_weight, class_weight, batch_size, steps)]
    dtypes = _DTYPES if dtype is None else (checks.one_of(*_DTYPES)("dtype", dtype),)
    if dtype is not None:
        for home in homes:
            home.dtype(dtype)  # complains now if the device lacks it
    reference, *others = homes
    known = {home.spec: [d for d in dtypes if _has(home, d)] for home in homes}
    notes = [
        f"{home.spec} has no {d}: left out" for home in homes for d in dtypes if d not in known[home.spec]
    ]
    rows: list[ParityRow] = []
    for case in cases:
        compared = Comparison(case, reference)
        for home, mode in [(reference, "auto"), *((home, mode) for home in others for mode in _MODES)]:
            rows += compared.rows_of(home, mode, [d for d in known[home.spec] if d in known[reference.spec]])
    versions = {"xpnet": __version__} | {home.name: probe(home.name).version for home in homes}
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


def _refuse(whose: str, **arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ConfigError(f"{name}: expected none with {whose}, found one; leave it out")


def _has(home: Backend, dtype: str) -> bool:
    try:
        home.dtype(dtype)
    except BackendError:
        return False
    return True


def _built_in(names: Sequence[str] | None, steps: int) -> list[Case]:
    """Return the trainings of the built-in networks: with steps for the first loss of each."""
    known = {network.name: network for network in NETWORKS}
    if names is not None and not (names and set(names) <= known.keys()):
        raise ConfigError(
            f"networks: expected some of {', '.join(map(repr, known))}, found {names!r}; pass None for all"
        )
    X = digits_inputs()
    return [
        Case(
            name, loss, network.trainer(loss), X, digits_targets(loss), None, network.batch_size,
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
    return Case("own trainer", name, trainer, rows.X, rows.y, rows.weight, size, steps)

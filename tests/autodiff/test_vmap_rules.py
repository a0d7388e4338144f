"""The batching of every rule: each argument mapped or not, against a loop over the examples."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.autodiff.rule_cases import Case
from tests.autodiff.test_rules import CASES, CONSTANTS, _space
from tests.support import draw, relative_error, tolerance, widest
from xpnet.autodiff import jacobian, jvp, vjp, vmap
from xpnet.autodiff.rules import RULES
from xpnet.backends import Backend
from xpnet.containers import leaves, map_leaves
from xpnet.errors import RecordError

_EXAMPLES = 3
every_rule = pytest.mark.parametrize("case", {case.rule: case for case in reversed(CASES)}.values(), ids=str)

# Where an array decides the shape of the result, it is the same for all examples.
_SHAPED_BY_VALUES = {
    "getitem-mask", "getitem-mask-of-vector", "getitem-mask-of-rows", "place-mask", "assign-mask",
    "repeat-array", "repeat-array-flat",
}  # fmt: skip


class _Mapped:
    """A case with some of its arguments and constants mapped."""

    def __init__(self, case: Case, args: tuple[int, ...], constants: tuple[int, ...]):
        self.case, self.count = case, len(case.args)
        self.axes = tuple(0 if i in args else None for i in range(self.count))
        self.axes += tuple(0 if i in constants else None for i in range(len(case.constants)))
        given = [
            np.stack([x * (1 - 0.02 * n) for n in range(_EXAMPLES)]) if axis == 0 else x
            for x, axis in zip(case.args, self.axes, strict=False)
        ]
        for c, axis in zip(case.constants, self.axes[self.count :], strict=True):
            turned = [np.roll(c, n, axis=-1) if c.ndim else c for n in range(_EXAMPLES)]
            given.append(np.stack(turned) if axis == 0 else c)
        self.given = given

    def __str__(self) -> str:
        return f"{self.case}, axes {self.axes}"

    def value(self, *given: Any) -> Any:
        return self.case.function(_space(*given[: self.count]), *given)

    def example(self, n: int) -> list[Any]:
        return [x if axis is None else x[n] for x, axis in zip(self.given, self.axes, strict=True)]

    def each(self, f: Callable[..., Any]) -> list[Any]:
        """Return the results of ``f`` for each example, stacked."""
        found = [leaves(f(*self.example(n))) for n in range(_EXAMPLES)]
        return [np.stack(parts) for parts in zip(*found, strict=True)]


def _choices(case: Case) -> list[_Mapped]:
    """Return the case with every choice of mapped arguments, with mapped constants, and with both."""
    args, constants = range(len(case.args)), tuple(range(len(case.constants)))
    chosen: list[Any] = [(s, ()) for n in args for s in itertools.combinations(args, n + 1)]
    if constants and str(case) not in _SHAPED_BY_VALUES:
        chosen += [((), constants), (tuple(args), constants)]
    return [_Mapped(case, *choice) for choice in chosen]


def _is_shaped_by_values(case: Case) -> bool:
    return str(case) in _SHAPED_BY_VALUES or case.rule.startswith("unique")


@pytest.mark.parametrize("case", [case for case in CASES if not case.rule.startswith("unique")], ids=str)
def test_values_and_derivatives_are_those_of_a_loop(case: Case) -> None:
    for mapped in _choices(case):
        k, axes, given = mapped.count, mapped.axes, mapped.given
        u = draw(60, np.shape(mapped.value(*mapped.example(0))))
        along = tuple(draw(70 + i, x.shape) for i, x in enumerate(case.args))

        def pull(*given: Any, m: _Mapped = mapped, k: int = k, u: Any = u) -> Any:
            return vjp(lambda *args: m.value(*args, *given[k:]), *given[:k])[1](u)

        def push(*given: Any, m: _Mapped = mapped, k: int = k, along: Any = along) -> Any:
            return jvp(lambda *args: m.value(*args, *given[k:]), given[:k], along)[1]

        for f in (mapped.value, pull, push):
            _compare(mapped, vmap(f, axes)(*given), mapped.each(f))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_jacobians_by_rows_are_those_by_columns(case: Case) -> None:
    """Cotangents and tangents are mapped where all else is the same."""

    def f(*args: Any) -> Any:
        return case.function(_space(*args), *args, *case.constants)

    numbers = tuple(range(len(case.args)))
    rows, columns = (jacobian(f, numbers, mode)(*case.args) for mode in ("reverse", "forward"))
    _, pullback = vjp(f, *case.args)
    first = np.zeros(rows[0].shape[: rows[0].ndim - case.args[0].ndim])
    if first.size:
        first.reshape(-1)[0] = 1
        index = (0,) * first.ndim
        _compare(case, [block[index] for block in rows], list(pullback(first)))
    _compare(case, columns, list(rows))


@every_rule
def test_derivatives_of_all_examples_together_are_those_of_a_loop(case: Case) -> None:
    """The batching runs below the rule here, where it runs on traced arrays."""
    for mapped in [] if _is_shaped_by_values(case) else _choices(case):
        k, axes, given = mapped.count, mapped.axes, mapped.given
        u = draw(60, np.shape(mapped.value(*mapped.example(0))))

        def together(*args: Any, m: _Mapped = mapped, k: int = k) -> Any:
            return vmap(m.value, m.axes)(*args, *m.given[k:])

        def pull(*given: Any, m: _Mapped = mapped, k: int = k, u: Any = u) -> Any:
            return vjp(lambda *args: m.value(*args, *given[k:]), *given[:k])[1](u)

        each = [g if axis == 0 else g.sum(axis=0) for g, axis in zip(mapped.each(pull), axes, strict=False)]
        v = [draw(70 + i, x.shape) for i, x in enumerate(given[:k])]
        _, pullback = vjp(together, *given[:k])
        _compare(mapped, pullback(np.stack([u] * _EXAMPLES)), each)
        pushed = jvp(together, tuple(given[:k]), tuple(v))[1]
        pulled = sum(float(np.sum(g * w)) for g, w in zip(each, v, strict=True))
        assert float(np.sum(pushed * u)) == pytest.approx(pulled, rel=1e-9, abs=1e-9)


def _compare(what: Any, got: Any, want: list[Any]) -> None:
    for one, other in zip(leaves(got), want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10, err_msg=str(what))
        assert one.dtype == other.dtype


@pytest.mark.parametrize("name", CONSTANTS)
def test_functions_without_derivative_are_those_of_a_loop(name: str) -> None:
    if name == "nonzero":
        pytest.skip("nonzero: its shape depends on values")
    x = draw(3, (_EXAMPLES, 4, 3))
    found = vmap(lambda x: CONSTANTS[name](_space(x), x))(x)
    want = np.stack([CONSTANTS[name](_space(example), example) for example in x])
    np.testing.assert_array_equal(found, want)
    assert found.dtype == want.dtype


@pytest.mark.parametrize("case", [*filter(_is_shaped_by_values, CASES)], ids=str)
def test_shapes_that_depend_on_values_are_refused(case: Case) -> None:
    mapped = _Mapped(case, tuple(range(len(case.args))), tuple(range(len(case.constants))))
    with pytest.raises(RecordError, match=r"expected .*(one shape|equally many).*; use xp\.where"):
        vmap(mapped.value, mapped.axes)(*mapped.given)
    with pytest.raises(RecordError, match=r"nonzero: .*loop over the examples"):
        vmap(lambda x: CONSTANTS["nonzero"](_space(x), x))(draw(1, (2, 3, 2)))


def test_every_rule_has_a_batching_or_a_body() -> None:
    assert not [name for name, rule in RULES.items() if rule.batch is None and rule.body is None]


@every_rule
def test_derivatives_are_the_same_on_every_backend(case: Case, backend: Backend) -> None:
    mapped = _Mapped(case, tuple(range(len(case.args))), tuple(range(len(case.constants))))
    if _is_shaped_by_values(case):
        pytest.skip("its shape depends on values")
    for name in (backend.name, backend.spec):
        if name in case.lacking:
            pytest.skip(f"{name}: {case.lacking[name]}")
    k, dtype = mapped.count, widest(backend)

    def both(u: Any, along: Any, given: Any) -> Any:
        f = lambda *args: mapped.value(*args, *given[k:])  # noqa: E731
        y, pull = vjp(f, *given[:k])
        return y, pull(u), jvp(f, tuple(given[:k]), tuple(along))[1]

    u = draw(60, np.shape(mapped.value(*mapped.example(0))))
    along = [draw(70 + i, x.shape) for i, x in enumerate(case.args)]
    on_host = (
        u,
        along,
        [x.astype(dtype).astype("float64") if x.dtype.kind == "f" else x for x in mapped.given],
    )
    there = map_leaves(lambda x: backend.asarray(x, dtype=dtype if x.dtype.kind == "f" else None), on_host)
    run = vmap(both, (None, None, list(mapped.axes)))
    for got, want in zip(leaves(run(*there)), leaves(run(*on_host)), strict=True):
        assert relative_error(got, want) < 100 * tolerance(dtype)

"""Sparse Jacobians and Hessians: few products, of which each shows many columns or rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.autodiff.arguments import handed_back, name_of
from xpnet.autodiff.directions import FIRST_COLUMNS, in_batches, rows_at_once
from xpnet.autodiff.selection import Argnames, Argnums, transformed
from xpnet.autodiff.sparse.colouring import Colouring, colouring
from xpnet.autodiff.sparse.index_sets import IndexSets, structure
from xpnet.autodiff.sparse.matrix import SparseMatrix, read_sparsity
from xpnet.autodiff.tracer import (
    is_complex,
    is_floating,
    placement_of,
    plain_namespace,
    plain_value,
    traces_of,
)
from xpnet.autodiff.transforms import Recording, grad
from xpnet.backends import array_namespace, backend_of, host
from xpnet.containers import leaves
from xpnet.errors import RecordError, suggest
from xpnet.rng import key, normal

__all__ = ["hessian_sparsity", "jacobian_sparsity", "sparse_hessian", "sparse_jacobian"]

_MODES = ["auto", "forward", "reverse"]


def sparse_jacobian(
    f: Callable[..., Any],
    argnums: Argnums = None,
    *,
    argnames: Argnames = None,
    sparsity: Any = None,
    mode: str = "auto",
    has_aux: bool = False,
) -> Callable[..., Any]:
    """Return a function that computes the Jacobian J = ∂y/∂x of y = f(x) as a sparse matrix.

    ``f`` is recorded once. Columns of J that have no row in common share one tangent (or rows one cotangent),
    so that a banded Jacobian takes as many passes as it has bands, whatever its size (`colouring`).

    Args:
        f: function whose result is an array or a container of arrays.
        argnums, argnames: which arguments to differentiate, as for `value_and_grad`: one or a tuple.
        sparsity: where J may be other than zero: a boolean matrix, a sparse array of SciPy, a
            `SparseMatrix`, a pair (rows, columns) of index arrays, or a `Colouring`. None: found from the
            functions that ``f`` uses (`jacobian_sparsity`). With each call the products are compared with
            one more, in a random direction, so that an entry that a given sparsity lacks is an error (not in
            ``xpnet.compile`` and ``vmap``, where no value can be looked at).
        mode: ``"forward"``, columns together; ``"reverse"``, rows together; ``"auto"``, what takes fewest
            passes, which may be some of both.
        has_aux: ``f`` returns ``(y, aux)``, and the function returned ``(J, aux)``; aux is anything.

    Returns:
        A function of the same arguments that returns a `SparseMatrix`, with a row for each floating entry of
        the result and a column for each of the arguments, one array after the other where there are several,
        each in C order. It keeps colourings, and computes them again only where shapes, functions or indices
        that ``f`` uses are other ones.

    Raises:
        RecordError: as `jacobian` does; complex arguments or results; a sparsity that lacks an entry, or is
            of another shape.

    Example:
        >>> import numpy as np
        >>> from xpnet import autodiff
        >>> def residuals(x):
        ...     return x[1:] ** 2 - x[:-1]
        >>> J = autodiff.sparse_jacobian(residuals)(np.asarray([1.0, 2.0, 3.0]))
        >>> J
        SparseMatrix(2 x 3, 4 entries of float64)
        >>> J.todense()
        array([[-1.,  4.,  0.],
               [ 0., -1.,  6.]])

    Source: as of `colouring`.
    """
    name = f"sparse_jacobian of {name_of(f)}"
    if mode not in _MODES:
        raise RecordError(
            f"{name}: expected the mode 'auto', 'forward' or 'reverse', found {mode!r}{suggest(mode, _MODES)}"
        )
    return _derivative(name, f, (argnums, argnames), sparsity, mode, has_aux)


def sparse_hessian(
    f: Callable[..., Any],
    argnums: Argnums = None,
    *,
    argnames: Argnames = None,
    sparsity: Any = None,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """Return a function that computes the Hessian H = ∂²f/∂x² of a 0-d result as a sparse matrix.

    It is the sparse Jacobian of the gradient, which is recorded once, and uses that it is symmetric: a star
    colouring takes a few products H v, for a full row and column too.

    Args:
        f: function with a real 0-d result.
        argnums, argnames, has_aux: as for `sparse_jacobian`.
        sparsity: as for `sparse_jacobian`; an entry on one side of the diagonal counts on both.

    Returns:
        A function of the same arguments that returns a `SparseMatrix` with entries on both sides.

    Raises:
        RecordError: as `grad` and `sparse_jacobian` do.

    Example:
        >>> import numpy as np
        >>> from xpnet import autodiff
        >>> def energy(x):
        ...     xp = x.__array_namespace__()
        ...     return xp.sum((x[1:] - x[:-1]) ** 2)
        >>> autodiff.sparse_hessian(energy)(np.asarray([1.0, 2.0, 4.0])).todense()
        array([[ 2., -2.,  0.],
               [-2.,  4., -2.],
               [ 0., -2.,  2.]])

    Source: as of `colouring`.
    """
    name = f"sparse_hessian of {name_of(f)}"
    gradient = grad(f, argnums, argnames=argnames, has_aux=has_aux)
    return _derivative(name, gradient, (argnums, argnames), sparsity, "symmetric", has_aux)


def jacobian_sparsity(
    f: Callable[..., Any], argnums: Argnums = None, *, argnames: Argnames = None, has_aux: bool = False
) -> Callable[..., Any]:
    """Return a function that finds where the Jacobian of ``f`` may be other than zero.

    It follows from the functions that ``f`` uses, and the shapes and indices in it, and is right for all
    values, as long as those decide neither Python's control flow nor an index. It can be too large: a product
    with a matrix, even one with zeros, a solution of a linear system, a checkpoint, and a function with a
    custom rule make each entry of their results depend on all entries that they take.

    Args:
        f, argnums, argnames, has_aux: as for `sparse_jacobian`.

    Returns:
        A function of the same arguments that returns a `SparseMatrix` of truth values, which `colouring`
        and the ``sparsity`` of `sparse_jacobian` take. Its attribute ``assumed`` has the names of functions
        in the last call of which nothing was known, such as those with custom rules.

    Example:
        >>> import numpy as np
        >>> from xpnet import autodiff
        >>> autodiff.jacobian_sparsity(lambda x: x[1:] * x[0])(np.ones(3)).todense()
        array([[ True,  True, False],
               [ True, False,  True]])
    """
    return _sparsity(f"jacobian_sparsity of {name_of(f)}", f, (argnums, argnames), has_aux)


def hessian_sparsity(
    f: Callable[..., Any], argnums: Argnums = None, *, argnames: Argnames = None, has_aux: bool = False
) -> Callable[..., Any]:
    """Return a function that finds where the Hessian of ``f`` may be other than zero.

    It is `jacobian_sparsity` of the gradient.

    Example:
        >>> import numpy as np
        >>> from xpnet import autodiff
        >>> autodiff.hessian_sparsity(lambda x: x[0] * x[1] + x[2])(np.ones(3)).todense()
        array([[False,  True, False],
               [ True, False, False],
               [False, False, False]])
    """
    gradient = grad(f, argnums, argnames=argnames, has_aux=has_aux)
    return _sparsity(f"hessian_sparsity of {name_of(f)}", gradient, (argnums, argnames), has_aux)


_Which = tuple[Argnums, Argnames]


def _sparsity(name: str, f: Callable[..., Any], which: _Which, has_aux: bool) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        recording = Recording(name, f, which[0], args, options, has_aux, argnames=which[1])
        shape, sets = _Layout(recording).shape, IndexSets(recording)
        run.assumed = sets.assumed  # type: ignore[attr-defined]
        made = SparseMatrix(sets.rows, sets.columns, np.ones(len(sets.rows), dtype=bool), shape)
        return (made, handed_back(recording.aux, recording.trace, (args, options))) if has_aux else made

    run.assumed = ()  # type: ignore[attr-defined]
    return transformed(run, name, f)


def _derivative(
    name: str, f: Callable[..., Any], which: _Which, sparsity: Any, mode: str, has_aux: bool
) -> Callable[..., Any]:
    known: dict[Any, Colouring] = {}

    def colours_of(recording: Recording, layout: _Layout) -> Colouring:
        if isinstance(sparsity, Colouring):
            if sparsity.shape != layout.shape:
                raise RecordError(
                    f"{name}: expected a colouring of shape {layout.shape}, found {sparsity.shape}"
                )
            return sparsity
        at = structure(recording) if sparsity is None else layout.shape
        if at not in known:
            if sparsity is None:
                sets = IndexSets(recording)
                given = sets.rows, sets.columns
            else:
                given = read_sparsity(name, sparsity, layout.shape)[:2]
            if len(known) >= _KNOWN:
                known.clear()
            known[at] = colouring(given, mode, shape=layout.shape)
        return known[at]

    def run(*args: Any, **options: Any) -> Any:
        recording = Recording(name, f, which[0], args, options, has_aux, argnames=which[1])
        layout = _Layout(recording)
        colours = colours_of(recording, layout)
        values = _entries(recording, layout, colours)
        if sparsity is not None:
            _check(recording, layout, colours, values)
        values, aux = handed_back((values, recording.aux), recording.trace, (args, options))
        made = SparseMatrix(colours.rows, colours.columns, values, colours.shape)
        return (made, aux) if has_aux else made

    return transformed(run, name, f)


_KNOWN = 16  # colourings that are kept


# --- Products ----------------------------------------------------------------------------------------


class _Layout:
    """The floating arrays of a recording: those of the rows and of the columns of its Jacobian."""

    def __init__(self, recording: Recording):
        self.results = [y for y in leaves(recording.result) if is_floating(y)]
        self.inputs = [x for x in leaves(recording.chosen) if is_floating(x)]
        for what, arrays in (("argument", self.inputs), ("result", self.results)):
            for x in arrays:
                if is_complex(x):
                    raise RecordError(
                        f"{recording.name}: expected a real {what}, found dtype {x.dtype}; write it in the "
                        "real and imaginary parts, or use jacobian"
                    )
        m, n = (sum(math.prod(x.shape) for x in arrays) for arrays in (self.results, self.inputs))
        self.shape = m, n


_Apply = Callable[[list[Any]], list[Any]]


def _entries(recording: Recording, layout: _Layout, colours: Colouring) -> Any:
    """Return the values of the Jacobian at the entries of a colouring."""

    def push(parts: list[Any]) -> list[Any]:
        return recording.push(_placed(parts, recording.chosen))

    def pull(parts: list[Any]) -> list[Any]:
        return recording.pull(_placed(parts, recording.result))

    flat = [
        *_products(layout.inputs, push, colours.column_colours, FIRST_COLUMNS),
        *_products(layout.results, pull, colours.row_colours, rows_at_once(recording)),
    ]
    if not flat:
        xp = plain_namespace(*layout.inputs)
        dtypes = [x.dtype for x in layout.results or layout.inputs]
        return xp.zeros(0, dtype=xp.result_type(*dtypes), **placement_of(layout.inputs[0]))
    xp, backend = array_namespace(*flat), backend_of(plain_value(layout.inputs[0]))
    return xp.take(xp.concat(flat), backend.asarray(colours.sources), axis=0)


def _products(given: list[Any], apply: _Apply, colours: np.ndarray, first: int) -> list[Any]:
    """Return the products with the sums of the unit vectors of each colour, as one vector in a list."""
    size = int(colours.max(initial=-1)) + 1
    if not size:
        return []

    def directions(start: int, count: int) -> list[Any]:
        return _parts(colours == np.arange(start, start + count)[:, None], given)

    known = [y for y in in_batches(plain_namespace(*given), size, directions, apply, first) if y is not None]
    xp = array_namespace(*known)
    rows = xp.concat([xp.reshape(y, (size, math.prod(y.shape[1:]))) for y in known], axis=1)
    return [xp.reshape(rows, (-1,))]


def _parts(vectors: np.ndarray, like: list[Any]) -> list[Any]:
    """Return vectors (count, size) of the host as arrays (count, ...) like those given."""
    ends = np.cumsum([math.prod(x.shape) for x in like])[:-1]
    made = []
    for x, part in zip(like, np.split(vectors, ends, axis=1), strict=True):
        xp, backend = plain_namespace(x), backend_of(plain_value(x))
        made.append(xp.reshape(xp.astype(backend.asarray(part), x.dtype), (len(part), *x.shape)))
    return made


def _placed(parts: list[Any], tree: Any) -> list[Any]:
    """Return arrays in the places of the leaves that are floating, and None in the others."""
    left = iter(parts)
    return [next(left) if is_floating(x) else None for x in leaves(tree)]


# --- Entries that a given sparsity lacks -------------------------------------------------------------


def _check(recording: Recording, layout: _Layout, colours: Colouring, values: Any) -> None:
    """Compare the product of the sparse Jacobian and a random vector with that of the true one."""
    if not math.prod(layout.shape) or any(trace.all_dtypes for trace in traces_of([values, *layout.inputs])):
        return
    v = normal(key(0).fold("sparsity"), (layout.shape[1],)).astype(np.float32)  # which every device has
    true = _flat(recording.push(_placed(_vector(v, layout.inputs), recording.chosen)))
    terms = host(plain_value(values)) * v[colours.columns]
    found, size = (np.bincount(colours.rows, x, layout.shape[0]) for x in (terms, np.abs(terms)))
    eps = float(plain_namespace(*layout.results).finfo(values.dtype).eps)
    with np.errstate(invalid="ignore"):
        size += np.abs(true)
        wrong = np.abs(true - found) > eps**0.4 * size + 100 * eps * np.max(size, initial=0.0)
    if not wrong.any():
        return
    i = int(np.argmax(np.where(wrong, np.abs(true - found), 0)))
    unit = _vector(np.arange(layout.shape[0]) == i, layout.results)
    row = _flat(recording.pull(_placed(unit, recording.result)))
    row[colours.columns[colours.rows == i]] = 0
    j = int(np.argmax(np.abs(row)))
    if not row[j]:
        raise RecordError(
            f"{recording.name}: expected a colouring for this matrix, found one that mixes some in row {i}; "
            "one of the mode 'symmetric' is for Hessians"
        )
    raise RecordError(
        f"{recording.name}: expected zeros where the sparsity has no entry, found {row[j]:.4g} in row {i}, "
        f"column {j}; add that entry, or leave sparsity= out to have it found"
    )


def _vector(vector: np.ndarray, like: list[Any]) -> list[Any]:
    """Return a vector of the host as arrays like those given."""
    return [x[0, ...] for x in _parts(vector[None], like)]


def _flat(arrays: list[Any]) -> np.ndarray:
    """Return plain values as one vector of the host."""
    known = [host(plain_value(x)) for x in arrays if x is not None]
    return np.concatenate([x.astype(np.float64).reshape(-1) for x in known])

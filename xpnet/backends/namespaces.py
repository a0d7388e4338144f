"""The array namespace of arguments: which library's functions to call."""

from __future__ import annotations

from typing import Any

import array_api_compat

from xpnet.errors import BackendError

__all__ = ["array_namespace", "dtype_name", "is_array", "placement"]

# Looking a namespace up costs about a microsecond; the type of an array decides it for good.
_BY_TYPE: dict[type, Any] = {}
_NOT_ARRAYS = (int, float, bool, complex, type(None))


def is_array(x: Any) -> bool:
    """Return whether ``x`` is an array; a class, such as a dtype of NumPy, is none."""
    return not isinstance(x, type) and array_api_compat.is_array_api_obj(x)


def dtype_name(x: Any) -> str:
    """Return the name of an array's dtype, the same for every library.

    >>> import array_api_strict
    >>> str(array_api_strict.ones(3).dtype), dtype_name(array_api_strict.ones(3))
    ('array_api_strict.float64', 'float64')
    """
    return str(x.dtype).rpartition(".")[2]


def array_namespace(*arrays: Any) -> Any:
    """Return the namespace whose functions take ``arrays``; Python scalars and None are skipped.

    A traced array's namespace wins, since its functions accept plain arrays beside traced ones.

    >>> import numpy as np
    >>> array_namespace(1.0, np.ones(3)).__name__
    'array_api_compat.numpy'

    Raises:
        BackendError: no argument is an array, or arrays of two libraries are mixed.
    """
    found = None
    for x in arrays:
        kind = type(x)
        space = _BY_TYPE.get(kind)
        if space is None:
            if kind in _NOT_ARRAYS:
                continue
            if hasattr(kind, "__traced__"):
                return x.__array_namespace__()
            space = _BY_TYPE[kind] = _lookup(x)
        if found is None:
            found = space
        elif found is not space:
            return _traced_namespace(arrays, found, space)
    if found is None:
        kinds = ", ".join(type(x).__name__ for x in arrays) or "nothing"
        raise BackendError(
            f"array_namespace: expected at least one array of the Array API standard, found {kinds}; "
            "make one with xpnet.backend(...).asarray(...)"
        )
    return found


def _lookup(x: Any) -> Any:
    try:
        return array_api_compat.array_namespace(x)
    except TypeError as error:
        raise BackendError(
            f"expected an array of NumPy, CuPy, PyTorch, JAX or array_api_strict, found {type(x).__name__}; "
            "convert it with xpnet.backend(...).asarray(...)"
        ) from error


def _traced_namespace(arrays: tuple[Any, ...], one: Any, other: Any) -> Any:
    for x in arrays:
        if hasattr(type(x), "__traced__"):
            return x.__array_namespace__()
    raise BackendError(
        f"expected arrays of one library, found {one.__name__} and {other.__name__}; "
        "move them to one backend with xpnet.backend(...).asarray(...)"
    )


def placement(x: Any) -> dict[str, Any]:
    """Return ``device=``, as keyword arguments, for a new array beside ``x``: none if arrays have no device.

    Those of MLX, dask and ndonnx have none, and those of JAX none while it compiles.
    """
    device = None if array_namespace(x).__name__ == "jax.numpy" else getattr(x, "device", None)
    return {} if device is None else {"device": device}

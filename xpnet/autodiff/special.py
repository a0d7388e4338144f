"""Special functions of arrays of any library, traced or not, with derivatives of any order.

They have SciPy's names and arguments. Of NumPy's arrays SciPy computes them (``pip install
'xpnet[special]'``), of CuPy's, PyTorch's and JAX's these libraries themselves, where they have them. Traced
arrays have the same functions in ``x.__array_namespace__().special``, where SciPy looks for them.

>>> import numpy as np
>>> from xpnet import autodiff
>>> from xpnet.autodiff import special
>>> float(special.gammaln(np.asarray(5.0)).round(6))  # log 24
3.178054
>>> float(autodiff.grad(special.gammaln)(np.asarray(1.0)).round(6))  # minus Euler's constant
-0.577216

Arguments are broadcast; whole numbers become floating ones, as in SciPy; complex arrays are refused. The
order of a Bessel function, and the parameters of a distribution or of a hypergeometric function, have no
derivative: a traced array there is refused when a derivative is asked for. The functions:

"""

from __future__ import annotations

from typing import Any

from xpnet.autodiff.namespaces import Namespace, namespace
from xpnet.backends import array_namespace
from xpnet.backends.special import FUNCTIONS

__doc__ += "\n".join(f"- ``{text}``" for text in FUNCTIONS.values())

__all__ = sorted(FUNCTIONS)


def __getattr__(name: str) -> Any:
    if name not in FUNCTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def call(*args: Any) -> Any:
        xp = array_namespace(*args)
        space = xp if isinstance(xp, Namespace) else namespace(xp)
        return getattr(space.special, name)(*args)

    call.__name__, call.__doc__ = name, FUNCTIONS[name]
    globals()[name] = call  # the next look-up finds it
    return call

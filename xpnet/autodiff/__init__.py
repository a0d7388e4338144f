"""Derivatives of array code written for the Array API standard, on any backend.

>>> import numpy as np
>>> from xpnet import autodiff
>>> def f(x):
...     xp = x.__array_namespace__()
...     return xp.sum(xp.tanh(x) ** 2)
>>> autodiff.grad(f)(np.asarray([0.0, 1.0])).round(6)
array([0.    , 0.6397])
"""

from xpnet.autodiff import implicit, special
from xpnet.autodiff.checks import check_grads
from xpnet.autodiff.custom import custom_rule
from xpnet.autodiff.functions import stop_gradient
from xpnet.autodiff.graphs import Graph, Node, graph
from xpnet.autodiff.jacobians import ggn_vp, hessian, hvp, jacfwd, jacobian, jacrev
from xpnet.autodiff.mapping import vmap
from xpnet.autodiff.namespaces import namespace
from xpnet.autodiff.rematerialization import checkpoint
from xpnet.autodiff.sparse import (
    Colouring,
    SparseMatrix,
    colouring,
    hessian_sparsity,
    jacobian_sparsity,
    sparse_hessian,
    sparse_jacobian,
)
from xpnet.autodiff.tracer import Tracer
from xpnet.autodiff.transforms import grad, jvp, linearize, value_and_grad, vjp

__all__ = [
    "Colouring",
    "Graph",
    "Node",
    "SparseMatrix",
    "Tracer",
    "check_grads",
    "checkpoint",
    "colouring",
    "custom_rule",
    "ggn_vp",
    "grad",
    "graph",
    "hessian",
    "hessian_sparsity",
    "hvp",
    "implicit",
    "jacfwd",
    "jacobian",
    "jacobian_sparsity",
    "jacrev",
    "jvp",
    "linearize",
    "namespace",
    "sparse_hessian",
    "sparse_jacobian",
    "special",
    "stop_gradient",
    "value_and_grad",
    "vjp",
    "vmap",
]

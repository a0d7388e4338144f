"""Sparse Jacobians and Hessians: sparsity, colourings, and products that show many columns at once."""

from xpnet.autodiff.sparse.colouring import Colouring, colouring
from xpnet.autodiff.sparse.derivatives import (
    hessian_sparsity,
    jacobian_sparsity,
    sparse_hessian,
    sparse_jacobian,
)
from xpnet.autodiff.sparse.matrix import SparseMatrix

__all__ = [
    "Colouring",
    "SparseMatrix",
    "colouring",
    "hessian_sparsity",
    "jacobian_sparsity",
    "sparse_hessian",
    "sparse_jacobian",
]

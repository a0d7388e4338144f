"""Methods of second order: minimization by derivatives over all data, with line searches.

`minimizing` has :func:`minimize`; each method is a file; `line_search` says how far to go, `curvature` what a
stationary point is.
"""

from xpnet.optim.second_order.base import METHODS, Method, StuckError
from xpnet.optim.second_order.bfgs import BFGS
from xpnet.optim.second_order.conjugate_gradients import ConjugateGradients
from xpnet.optim.second_order.curvature import extreme_eigenvalues
from xpnet.optim.second_order.gradient_descent import GradientDescent
from xpnet.optim.second_order.hessian_free import HessianFree
from xpnet.optim.second_order.lbfgs import LBFGS
from xpnet.optim.second_order.minimization import Result, minimize
from xpnet.optim.second_order.newton import DampedNewton, Newton

__all__ = [
    "BFGS",
    "LBFGS",
    "METHODS",
    "ConjugateGradients",
    "DampedNewton",
    "GradientDescent",
    "HessianFree",
    "Method",
    "Newton",
    "Result",
    "StuckError",
    "extreme_eigenvalues",
    "minimize",
]

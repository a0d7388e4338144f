"""One derivative rule for each array function, in tables by kind of function.

The derivative of ReLU is in ``compounds.py``, of ``tanh`` in ``elementwise.py``, of ``matmul`` in
``linalg.py``. A rule that is registered in none of the tests' tables fails the test suite.
"""

from xpnet.autodiff.rules import (
    compounds,
    decompositions,
    elementwise,
    fft,
    indexing,
    inverses,
    linalg,
    products,
    reductions,
    shaping,
    sorting,
    special,
)
from xpnet.autodiff.rules.rule import RULES, Outline, Rule

__all__ = [
    "RULES",
    "Outline",
    "Rule",
    "compounds",
    "decompositions",
    "elementwise",
    "fft",
    "indexing",
    "inverses",
    "linalg",
    "products",
    "reductions",
    "shaping",
    "sorting",
    "special",
]

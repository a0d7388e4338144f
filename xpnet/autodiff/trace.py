"""Traces: what a transform keeps of the function that it runs on traced arrays.

Derivatives keep a tape or tangents (``reverse.py``, ``forward.py``), a batch the examples side by side
(``batch.py``), a recording the operations of a program (``program/recording.py``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from xpnet.autodiff.rules import Rule
from xpnet.errors import RecordError

__all__ = ["Trace"]

_levels = itertools.count(1)


class Trace:
    """One run of a function under a transform; subclasses define what an applied function leaves behind.

    Attributes:
        level: later transforms have higher levels; the highest among the arguments records first.
        space: the namespace over tracers, which ``Tracer.__array_namespace__`` returns: it lifts all arrays.
        rule_space: the same for rules, in which plain arrays stay plain.
        open: False once the transform has finished.
    """

    __slots__ = ("level", "open", "rule_space", "space")

    records = False  # True for the recording of a program
    all_dtypes = False  # True where whole numbers and truth values are traced too: nothing is constant there
    hides_axis = False  # True for a batch: the first axis of the values inside is not the tracers' own

    def __init__(self, space: Any, rule_space: Any = None):
        self.level = next(_levels)
        self.space, self.rule_space = space, rule_space
        self.open = True

    def record(self, rule: Rule, function: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Any:
        """Apply ``function`` to the values of ``args`` and record it; returns tracers of this trace."""
        raise NotImplementedError

    def check_number(self) -> None:
        """Refuse to make a Python number of an array; recordings and batches refuse truth values, too."""
        raise RecordError(
            "a traced array cannot become a Python number or its text, for its derivative would be lost; "
            "keep it an array, or take the number of xpnet.autodiff.stop_gradient(x)"
        )

    def check_open(self, rule: Rule) -> None:
        """Refuse to record after the transform has finished."""
        if not self.open:
            raise RecordError(
                f"{rule.name}: expected arrays of a running transform, found a traced array that escaped "
                "from a finished one; return it from the differentiated function instead of storing it, or "
                "pass it through xpnet.autodiff.stop_gradient first"
            )

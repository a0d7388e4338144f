"""Reverse mode: a tape of the recorded functions, and the backward pass over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet.autodiff.arguments import explain_arguments, explain_mixture
from xpnet.autodiff.namespaces import namespace
from xpnet.autodiff.rules import RULES, Rule
from xpnet.autodiff.scopes import current_scope, enter_way_back, scope
from xpnet.autodiff.trace import Trace
from xpnet.autodiff.tracer import Tracer, like, lowered
from xpnet.backends.lacking import add_at, extended

__all__ = ["ReverseTrace"]

_LEAF = Rule("leaf")
_ITEM = Rule("item")  # one output of a function with several
_GETITEM = RULES["getitem"]


class ReverseTrace(Trace):
    """Tape of reverse mode: rule, parents and argument values of each recorded function.

    Entries refer to earlier ones by number, never to tracers: a dropped tape frees everything at once.
    """

    __slots__ = ("tape", "walks", "xp")

    def __init__(self, xp: Any):
        super().__init__(namespace(xp, lift=True), namespace(xp))
        self.xp = extended(xp)
        self.tape: list[tuple[Rule, Any, Any, Any, Any]] = []
        self.walks = 0  # passes over the tape that are under way

    def leaf(self, value: Any) -> Tracer:
        """Return a tracer of ``value``, an argument to differentiate."""
        value = lowered(value)
        self.tape.append((_LEAF, (), None, None, value))
        return Tracer(value, self, len(self.tape) - 1)

    def record(self, rule: Rule, function: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Any:
        if not self.open:
            return self._as_constants(rule, function, args, options)
        values: list[Any] = []
        parents: list[int] = []
        for x in args:
            if type(x) is Tracer:
                if x.trace is self:
                    values.append(x.value)
                    parents.append(x.slot)
                    continue
                # A lifted constant, or a copy: an assignment would make it stand for something else.
                x = Tracer(x.value, x.trace, x.slot) if x.trace.level else x.value
            values.append(x)
            parents.append(-1)
        try:
            out = function(*values, **options)
        except Exception as error:
            explain_mixture(rule.name, self.xp, values, error)
            raise
        if rule.constant:
            return self.space.wrap(out)
        tape = self.tape
        tape.append((rule, parents, values, options, out))
        number = len(tape) - 1
        if not rule.many:
            return Tracer(out, self, number)
        made = []
        for i, item in enumerate(out):
            tape.append((_ITEM, number, i, None, item))
            made.append(Tracer(item, self, len(tape) - 1))
        return like(out, made)

    def _as_constants(self, rule: Rule, function: Callable[..., Any], args: Any, options: Any) -> Any:
        """Apply a function to traced arrays that a custom rule uses in a pass over this tape."""
        if not self.walks:
            self.check_open(rule)
        return function(*(x.value if type(x) is Tracer and x.trace is self else x for x in args), **options)

    def pull_back(self, seeds: dict[int, Any], wanted: list[int]) -> list[Any]:
        """Return the cotangents of the entries ``wanted``, given those of the entries in ``seeds``.

        Walks the tape backwards once; each entry hands its cotangent on to its parents (version 2 of note
        003). None stands for a cotangent of zero.
        """
        self.walks += 1
        try:
            with scope(current_scope()):
                return self._walk_back(seeds, wanted)
        finally:
            self.walks -= 1

    def _walk_back(self, seeds: dict[int, Any], wanted: list[int]) -> list[Any]:
        cotangents: list[Any] = [None] * len(self.tape)
        for number, g in seeds.items():
            cotangents[number] = g
        keep = dict.fromkeys(wanted)
        own: set[int] = set()  # entries whose cotangent is in memory made here, to which more can be added
        for number in range(max(seeds, default=-1), -1, -1):
            g = cotangents[number]
            if g is None:
                continue
            rule, parents, values, options, out = self.tape[number]
            if rule is _LEAF:
                if number in keep:
                    keep[number] = g
                continue
            cotangents[number] = None  # spent: its memory is free from here on
            if rule is _ITEM:
                siblings = cotangents[parents]
                if siblings is None:
                    siblings = cotangents[parents] = [None] * len(self.tape[parents][4])
                siblings[values] = g
                continue
            xp = self.pull_space(g, out)
            if xp is self.rule_space:
                enter_way_back(out)
            for position, parent in enumerate(parents):
                if parent >= 0:
                    if rule is _GETITEM and xp is self.xp:
                        if parent in own and add_at(cotangents[parent], values[1], g):
                            continue  # a loop over entries costs one array, not one for each entry
                        own.add(parent)
                    try:
                        pulled = rule.pull(position)(xp, g, out, *values, **options)
                    except Exception as error:  # some libraries take arrays of others in the function itself
                        explain_mixture(rule.name, self.xp, [g, out, values], error)
                        explain_arguments(rule.name, error)
                        raise
                    known = cotangents[parent]
                    cotangents[parent] = pulled if known is None else self.rule_space.add(known, pulled)
        return [keep[number] for number in wanted]

    def push_forward(
        self, starts: dict[int, Any], wanted: set[int], push: Callable[..., Any]
    ) -> dict[int, Any]:
        """Return the tangents of the entries ``wanted``, given those of the leaves in ``starts``.

        Walks the tape forwards once, by ``push(rule, tangents, out, values, options)``; a tangent that no
        later entry uses is dropped. Entries without a tangent in the answer have one of zero.
        """
        self.walks += 1
        try:
            return self._walk_forward(starts, wanted, push)
        finally:
            self.walks -= 1

    def _walk_forward(
        self, starts: dict[int, Any], wanted: set[int], push: Callable[..., Any]
    ) -> dict[int, Any]:
        last: dict[int, int] = {}
        for number, (rule, parents, *_) in enumerate(self.tape):
            for parent in (parents,) if rule is _ITEM else parents:
                last[parent] = number
        tangents = dict(starts)
        for number, (rule, parents, values, options, out) in enumerate(self.tape):
            if rule is _LEAF:
                continue
            if rule is _ITEM:
                siblings = tangents.get(parents)
                if siblings is not None:
                    tangents[number] = siblings[values]
                parents = (parents,)
            else:
                given = [tangents.get(parent) for parent in parents]  # -1: a constant
                if any(t is not None for t in given):
                    try:
                        tangents[number] = push(rule, given, out, values, options)
                    except Exception as error:
                        explain_mixture(rule.name, self.xp, values, error)
                        explain_arguments(rule.name, error)
                        raise
            for parent in parents:
                if last[parent] == number and parent not in wanted:
                    tangents.pop(parent, None)
        return {number: tangents[number] for number in wanted if number in tangents}

    def pull_space(self, g: Any, out: Any) -> Any:
        """Return the namespace for a pull: over tracers if the cotangent or the output is one."""
        for x in g if type(g) is list else (g,):
            if type(x) is Tracer:
                return self.rule_space
        for x in out if isinstance(out, tuple) else (out,):
            if type(x) is Tracer:
                return self.rule_space
        return self.xp

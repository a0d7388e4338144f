"""Reverse mode: a tape of the recorded functions, and the backward pass over it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.autodiff.arguments import explain_arguments, explain_mixture
from xpnet.autodiff.namespaces import namespace
from xpnet.autodiff.rules import RULES, Outline, Rule
from xpnet.autodiff.scopes import current_scope, enter_way_back, scope
from xpnet.autodiff.trace import Trace
from xpnet.autodiff.tracer import Tracer, like, lowered
from xpnet.backends.lacking import add_at, extended

__all__ = ["ReverseTrace"]

_LEAF = Rule("leaf")
_ITEM = Rule("item")  # one output of a function with several
_GETITEM = RULES["getitem"]
_SPENT = (_LEAF, (), None, None, None)
_LARGE = 1000  # entries: of smaller arrays an outline costs more than it saves


class ReverseTrace(Trace):
    """Tape of reverse mode: rule, parents and argument values of each recorded function.

    Entries refer to earlier ones by number, never to tracers: a dropped tape frees everything at once.
    """

    __slots__ = ("tape", "walks", "xp")

    outlines = True  # of large arrays that no derivative reads the shape is kept alone

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
        plain = not options and not rule.indexed
        for x in args:
            if type(x) is Tracer:
                if x.trace is self:
                    value = x.value
                    values.append(value)
                    parents.append(x.slot)
                    plain = plain and type(value) is not Tracer
                    continue
                # A lifted constant, or a copy: an assignment would make it stand for something else.
                if x.trace.level:
                    x, plain = Tracer(x.value, x.trace, x.slot), False
                else:
                    x = x.value
            values.append(x)
            parents.append(-1)
        try:
            out = getattr(function, "applied", function)(*values) if plain else function(*values, **options)
        except Exception as error:
            explain_mixture(rule.name, self.xp, values, error)
            raise
        if rule.constant:
            return self.space.wrap(out)
        tape = self.tape
        number = len(tape)
        if plain and rule.reads and self.outlines and math.prod(out.shape) > _LARGE:
            tape.append((rule, parents, *_outlined(rule, parents, values, out)))
        else:
            tape.append((rule, parents, values, options, out))
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

    def pull_back(self, seeds: dict[int, Any], wanted: list[int], spend: bool = False) -> list[Any]:
        """Return the cotangents of the entries ``wanted``, given those of the entries in ``seeds``.

        Walks the tape backwards once; each entry hands its cotangent on to its parents (version 2 of note
        003). None stands for a cotangent of zero. ``spend``: each entry is forgotten once it has been used.
        """
        self.walks += 1
        try:
            with scope(current_scope()):
                return self._walk_back(seeds, wanted, spend)
        finally:
            self.walks -= 1

    def _walk_back(self, seeds: dict[int, Any], wanted: list[int], spend: bool) -> list[Any]:
        tape = self.tape
        cotangents: list[Any] = [None] * len(tape)
        for number, g in seeds.items():
            cotangents[number] = g
        keep = dict.fromkeys(wanted)
        own: set[int] = set()  # entries whose cotangent is in memory made here, to which more can be added
        for number in range(max(seeds, default=-1), -1, -1):
            g = cotangents[number]
            if g is None:
                continue
            rule, parents, values, options, out = tape[number]
            if rule is _LEAF:
                if number in keep:
                    keep[number] = g
                continue
            cotangents[number] = None  # its memory is free from here on
            if spend:
                tape[number] = _SPENT
            if rule is _ITEM:
                siblings = cotangents[parents]
                if siblings is None:
                    siblings = cotangents[parents] = [None] * len(tape[parents][4])
                siblings[values] = g
                continue
            if rule.many:
                xp = self.pull_space(g, out)
            else:
                xp = self.rule_space if type(g) is Tracer or type(out) is Tracer else self.xp
            if xp is self.rule_space:
                enter_way_back(out)
            fresh = rule is _GETITEM and xp is self.xp  # such a pull makes an array of its own
            for position, parent in enumerate(parents):
                if parent < 0:
                    continue
                known = cotangents[parent]
                if fresh and parent in own and add_at(known, values[1], g):
                    continue  # a loop over entries costs one array, not one for each entry
                try:
                    pulled = rule.pull(position)(xp, g, out, *values, **options)
                except Exception as error:  # some libraries take arrays of others in the function itself
                    explain_mixture(rule.name, self.xp, [g, out, values], error)
                    explain_arguments(rule.name, error)
                    raise
                if known is None:
                    if fresh:
                        own.add(parent)
                elif parent in own and type(known) is not Tracer and type(pulled) is not Tracer:
                    known += pulled
                    pulled = known
                else:
                    own.add(parent)
                    pulled = self.rule_space.add(known, pulled)
                cotangents[parent] = pulled
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


def _outlined(
    rule: Rule, parents: list[int], values: list[Any], out: Any
) -> tuple[list[Any], dict[str, Any], Any]:
    """Return what a tape keeps of a function's arguments, of its options and of its result."""
    read = {
        k for i, parent in enumerate(parents) if parent >= 0 for reads in rule.reads[i : i + 1] for k in reads
    }
    kept = [x if i in read or not hasattr(x, "shape") else Outline(x) for i, x in enumerate(values)]
    return kept, {}, out if -1 in read else Outline(out)

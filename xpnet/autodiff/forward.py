"""Forward mode: every traced array carries its tangent along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet.autodiff.namespaces import namespace
from xpnet.autodiff.reverse import ReverseTrace
from xpnet.autodiff.rules import Rule
from xpnet.autodiff.tracer import Trace, Tracer
from xpnet.backends.lacking import extended

__all__ = ["ForwardTrace"]


class ForwardTrace(Trace):
    """Pushes tangents through each function as it is applied; a tracer's slot is its tangent."""

    __slots__ = ("base", "xp")

    def __init__(self, xp: Any):
        super().__init__(namespace(xp))
        self.base, self.xp = xp, extended(xp)

    def record(self, rule: Rule, function: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Any:
        self.check_open(rule)
        mine = [type(x) is Tracer and x.trace is self for x in args]
        values = [x.value if m else x for x, m in zip(args, mine, strict=True)]
        tangents = [x.slot if m else None for x, m in zip(args, mine, strict=True)]
        out = function(*values, **options)
        if rule.constant:
            return out
        known = [*values, *(t for t in tangents if t is not None)]
        traced = any(type(x) is Tracer for x in known)
        xp = self.space if traced else self.xp
        if rule.push is not None:
            tangent = rule.push(xp, tangents, out, *values, **options)
        else:
            tangent = self._transpose(rule, tangents, out, values, options)
        if rule.many:
            return tuple(Tracer(o, self, t) for o, t in zip(out, tangent, strict=True))
        return Tracer(out, self, tangent)

    def _transpose(self, rule: Rule, tangents: list[Any], out: Any, values: list[Any], options: Any) -> Any:
        """Push by the transpose of the pulls: they are linear, so their own vjp is the forward direction."""
        trace = ReverseTrace(self.base)
        g = trace.leaf(self.space.zeros_like(out))
        seeds: dict[int, Any] = {}
        for position, tangent in enumerate(tangents):
            if tangent is not None:
                pulled = rule.pull(position)(trace.space, g, out, *values, **options)
                if type(pulled) is Tracer and pulled.trace is trace:
                    known = seeds.get(pulled.slot)
                    seeds[pulled.slot] = tangent if known is None else trace.space.add(known, tangent)
        pushed = trace.pull_back(seeds, [g.slot])[0]
        trace.open = False
        return self.space.zeros_like(out) if pushed is None else pushed

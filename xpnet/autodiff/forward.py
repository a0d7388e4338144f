"""Forward mode: every traced array carries its tangent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet.autodiff.arguments import explain_arguments, explain_mixture
from xpnet.autodiff.namespaces import namespace
from xpnet.autodiff.reverse import ReverseTrace
from xpnet.autodiff.rules import Rule
from xpnet.autodiff.trace import Trace
from xpnet.autodiff.tracer import Tracer, like, lowered
from xpnet.backends.lacking import extended

__all__ = ["ForwardTrace"]


class ForwardTrace(Trace):
    """Pushes tangents through each function as it is applied; a tracer's slot is its tangent."""

    __slots__ = ("base", "xp")

    def __init__(self, xp: Any):
        super().__init__(namespace(xp, lift=True), namespace(xp))
        self.base, self.xp = xp, extended(xp)

    def record(self, rule: Rule, function: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Any:
        self.check_open(rule)
        values: list[Any] = []
        tangents: list[Any] = []
        for x in args:
            if type(x) is Tracer:
                if x.trace is self:
                    values.append(x.value)
                    tangents.append(x.slot)
                    continue
                if not x.trace.level:
                    x = x.value  # a lifted constant
            values.append(x)
            tangents.append(None)
        try:
            out = function(*values, **options)
            if rule.constant:
                return self.space.wrap(out)
            tangent = self.push(rule, tangents, out, values, options)
        except Exception as error:
            explain_mixture(rule.name, self.xp, values, error)
            explain_arguments(rule.name, error)
            raise
        if rule.many:
            return like(out, [Tracer(o, self, t) for o, t in zip(out, tangent, strict=True)])
        return Tracer(out, self, tangent)

    def push(self, rule: Rule, tangents: list[Any], out: Any, values: list[Any], options: Any) -> Any:
        """Return the tangent of ``out``, from those of ``values`` (None: constant)."""
        if rule.push is None:
            return self._transpose(rule, tangents, out, values, options)
        known = [*values, *(t for t in tangents if t is not None), *(out if rule.many else (out,))]
        xp = self.rule_space if any(type(x) is Tracer for x in known) else self.xp
        return rule.push(xp, tangents, out, *values, **options)

    def _transpose(self, rule: Rule, tangents: list[Any], out: Any, values: list[Any], options: Any) -> Any:
        """Push by the transpose of the pulls: they are linear, so their own vjp is the forward direction."""
        trace = ReverseTrace(self.base)
        outs = out if rule.many else (out,)
        seeds = [trace.leaf(lowered(self.rule_space.zeros_like(o))) for o in outs]
        g = seeds if rule.many else seeds[0]
        starts: dict[int, Any] = {}
        for position, tangent in enumerate(tangents):
            if tangent is not None:
                pulled = rule.pull(position)(trace.rule_space, g, out, *values, **options)
                if type(pulled) is Tracer and pulled.trace is trace:
                    known = starts.get(pulled.slot)
                    starts[pulled.slot] = tangent if known is None else self.rule_space.add(known, tangent)
        pushed = trace.pull_back(starts, [seed.slot for seed in seeds])
        trace.open = False
        made = [
            lowered(self.rule_space.zeros_like(o)) if p is None else p
            for o, p in zip(outs, pushed, strict=True)
        ]
        return made if rule.many else made[0]

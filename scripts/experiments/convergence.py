r"""Note 001, section 3: gradient descent with noise on a strongly convex loss, and the bound on its error.

The loss is $f(w) = \frac12 \sum_i \lambda_i w_i^2$, which is $\ell$-strongly convex for $\ell = \min_i
\lambda_i$ and has its minimum at 0; gradients come with normal noise of standard deviation $\sigma$ in each
entry. Then the expectations of the note follow from a recurrence, $q_{k,i}$ being $E[w_{k,i}^2]$:

$$q_{k+1,i} = (1 - \alpha_k \lambda_i)^2 q_{k,i} + \alpha_k^2 \sigma^2, \qquad
  E\|G_k\|^2 = \sum_i (\lambda_i^2 q_{k,i} + \sigma^2), \qquad d_k = \sum_i q_{k,i}.$$
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from xpnet import optim

__all__ = ["Descent", "bound"]


@dataclasses.dataclass(frozen=True)
class Descent:
    r"""Descents from one point on a quadratic loss with noisy gradients.

    Args:
        curvatures: $\lambda_i$, above 0.
        noise: $\sigma$.
        start: each entry of $w_1$.
    """

    curvatures: tuple[float, ...]
    noise: float
    start: float

    @property
    def strength(self) -> float:
        r"""The $\ell$ of the strong convexity."""
        return min(self.curvatures)

    def schedule(self) -> optim.Inverse:
        r"""Return the note's schedule, $\alpha_k = 1 / (2 \ell k)$."""
        return optim.Inverse.strongly_convex(self.strength)

    def sample(self, rate: float | Callable[[int], float], steps: int, seeds: int) -> np.ndarray:
        """Return |w_n|² for n = 1 to ``steps`` of ``seeds`` descents, as an array (steps, seeds)."""
        optimizer, draws = optim.SGD(rate), np.random.default_rng(0)
        w = np.full((seeds, len(self.curvatures)), self.start)
        state = optimizer.init(w)
        distances = [np.sum(w * w, axis=1)]
        for _ in range(steps - 1):
            gradient = w * self.curvatures + self.noise * draws.normal(size=w.shape)
            w, state = optimizer.update(gradient, state, w)
            distances.append(np.sum(w * w, axis=1))
        return np.stack(distances)

    def expected(self, rate: float | Callable[[int], float], steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Return d_n = E|w_n|² and E|G_n|² for n = 1 to ``steps``, by the recurrence."""
        optimizer = optim.SGD(rate)
        curvatures, variance = np.asarray(self.curvatures), self.noise**2
        q = np.full(len(curvatures), self.start**2)
        distances, gradients = [], []
        for k in range(1, steps + 1):
            distances.append(q.sum())
            gradients.append(np.sum(curvatures**2 * q + variance))
            alpha = optimizer.learning_rate_at(k)
            q = (1 - alpha * curvatures) ** 2 * q + alpha**2 * variance
        return np.asarray(distances), np.asarray(gradients)

    def floor(self, rate: float) -> float:
        r"""Return the limit of d_n: $\sum_i \alpha \sigma^2 / (\lambda_i (2 - \alpha \lambda_i))$."""
        curvatures = np.asarray(self.curvatures)
        return float(np.sum(rate * self.noise**2 / (curvatures * (2 - rate * curvatures))))


def bound(strength: float, squared_gradients: np.ndarray) -> np.ndarray:
    r"""Return $\frac{S}{n-1} \sum_{j<n} \frac1j$ with $S = M^2 / (2\ell)^2$, for n = 2, 3, ...

    Args:
        strength: $\ell$.
        squared_gradients: $E\|G_k\|^2$ for k = 1, 2, ...; $M^2$ is the largest one up to step n - 1, on which
            alone $w_n$ depends.
    """
    j = np.arange(1, len(squared_gradients) + 1)
    s = np.maximum.accumulate(squared_gradients) / (2 * strength) ** 2
    return s / j * np.cumsum(1 / j)

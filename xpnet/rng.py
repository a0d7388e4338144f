"""Random numbers from counters: the same draws on every device, for ever.

The generator is Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", 2011): a keyed bijection on pairs of 32-bit words. A draw depends on its key and its index
alone, so nothing has to be stored but the seed and where the training stands. Keys are derived by
folding words into one another: ``key(seed).fold("dropout", layer, step)``.

Weights and shuffles are drawn on the host; :func:`bernoulli` and :func:`normal_vector` draw on the device of
their arrays, in array operations of the standard, with the same bits everywhere.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet import checks
from xpnet.backends import array_namespace
from xpnet.backends.lacking import word_dtype
from xpnet.errors import ConfigError

__all__ = [
    "Key",
    "bernoulli",
    "bits",
    "key",
    "normal",
    "normal_vector",
    "permutation",
    "permutations",
    "threefry",
    "uniform",
    "words_of_steps",
]

_WORD = 0xFFFFFFFF
_PARITY = 0x1BD11BDA
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


@dataclass(frozen=True)
class Key:
    """A key of the generator: a seed and the words folded into it.

    Folding only writes the words down; the two 32-bit words that the generator needs are computed from
    them when something is drawn.

    Attributes:
        seed, path: the seed, and the words folded into it.
        step: of the training, counted from 1, for layers whose settings follow a schedule; None outside.
        stream: which of several draws side by side, such as those of an ensemble's members: a number, or a
            0-d array of the words' dtype.
    """

    seed: int
    path: tuple[int | str, ...] = ()
    step: int | None = field(default=None, compare=False)
    stream: Any = field(default=0, compare=False)

    def fold(self, *words: int | str) -> Key:
        """Return the key derived from this one by ``words``, whole numbers or names.

        >>> key(0).fold("init", 3) == key(0).fold("init").fold(3)
        True
        """
        return Key(self.seed, self.path + words, self.step, self.stream)

    def at_step(self, step: int) -> Key:
        """Return this key, for a step of a training."""
        return Key(self.seed, self.path, step, self.stream)

    def at_stream(self, stream: Any) -> Key:
        """Return this key for one of several draws side by side."""
        return Key(self.seed, self.path, self.step, stream)

    def value(self, schedule: Callable[[int], float]) -> Any:
        """Return what a schedule gives for the step of this key: a number, or a 0-d array in a compiled step.

        >>> key(0).at_step(4).fold("dropout").value(lambda step: 1 / step)
        0.25

        Raises:
            ConfigError: the key is of no step.
        """
        if self.step is None:
            raise ConfigError(
                f"key: expected the number of a step, for the schedule {schedule!r}, found none; pass "
                "xpnet.rng.key(seed).at_step(1), say"
            )
        return schedule(self.step)

    @property
    def words(self) -> tuple[Any, Any]:
        """The two words: the seed's, replaced by Threefry's output for each folded word in turn."""
        words = (self.seed & _WORD, self.seed >> 32)
        for word in self.path:
            words = threefry(words, *_counter(word))
        return words


def _counter(word: int | str) -> tuple[int, int]:
    if isinstance(word, str):
        return zlib.crc32(word.encode()), _WORD  # no whole number below 2**63 has this form
    return word & _WORD, (word >> 32) & _WORD


def words_of_steps(key: Key, first: int, count: int, path: Sequence[int | str]) -> np.ndarray:
    """Return the words of ``key.fold(step, *path)`` for ``count`` steps from ``first`` on, (count, 2) uint32.

    >>> words_of_steps(key(0), 7, 1, ("dropout",)).tolist() == [list(key(0).fold(7, "dropout").words)]
    True
    """
    steps = np.arange(first, first + count, dtype=np.uint64)
    seed = _repeated(key.words, count)
    words = threefry(seed, (steps & _WORD).astype(np.uint32), (steps >> 32).astype(np.uint32), _identity)
    for word in path:
        low, high = _repeated(_counter(word), count)
        words = threefry(words, low, high, _identity)
    return np.stack(words, axis=1)


def _repeated(words: tuple[int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    low, high = words
    return np.full(count, low, dtype=np.uint32), np.full(count, high, dtype=np.uint32)


def key(seed: int) -> Key:
    """Return the root key of ``seed``, a whole number from 0 to 2**64 - 1.

    Raises:
        ConfigError: ``seed`` is not such a number.
    """
    return Key(checks.seed("seed", seed))


def threefry(
    words: tuple[Any, Any], x0: Any, x1: Any, wrap: Callable[[Any], Any] = lambda word: word & _WORD
) -> tuple[Any, Any]:
    """Return the two words that Threefry-2x32-20 makes of the counter ``(x0, x1)`` under a key.

    Every word is a Python int or an integer array. ``wrap`` reduces a sum modulo 2**32: arrays of
    uint32 do that by themselves and pass the identity.

    >>> [hex(w) for w in threefry((0, 0), 0, 0)]
    ['0x6b200159', '0x99ba4efe']
    """
    k0, k1 = words
    schedule = (k0, k1, k0 ^ k1 ^ _PARITY)
    x0, x1 = wrap(x0 + k0), wrap(x1 + k1)
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            x0 = wrap(x0 + x1)
            x1 = (wrap(x1 << rotation) | (x1 >> (32 - rotation))) ^ x0
        x0 = wrap(x0 + schedule[(block + 1) % 3])
        x1 = wrap(x1 + schedule[(block + 2) % 3] + (block + 1))
    return x0, x1


def bits(key: Key, shape: Sequence[int], *, xp: Any, device: Any = None) -> Any:
    """Return an integer array of ``shape`` of 32-bit words, drawn on ``device`` in array operations."""
    size = math.prod(shape)
    dtype = word_dtype(xp)
    # full and not asarray: it runs on the device, where asarray would send two numbers to it
    words = key.words
    if isinstance(words[0], int):
        words = tuple(xp.full((), word, dtype=dtype, device=device) for word in words)
    else:  # those of a compiled step, which come as arrays
        xp = array_namespace(*words)
    counter = xp.arange((size + 1) // 2, dtype=dtype, device=device)
    wraps_itself = dtype == xp.uint32
    if hasattr(key.stream, "shape"):  # both words are tracers where one is: arrays refuse to add what is none
        counter = key.stream * 0 + counter
    drawn = threefry(words, counter, counter * 0 + key.stream, *([_identity] if wraps_itself else []))
    xp = array_namespace(*drawn)
    return xp.reshape(xp.concat(drawn)[:size], tuple(shape))


def _identity(word: Any) -> Any:
    return word


def bernoulli(key: Key, probability: Any, shape: Sequence[int], *, xp: Any, device: Any = None) -> Any:
    """Return a boolean array of ``shape``, True with ``probability`` (to 24 bits).

    The comparison is one of integers, so every device draws the same mask.

    Args:
        key, shape, xp, device: as for `bits`.
        probability: a number, or a 0-d array of a multiple of 2**-24, which is exact in every dtype.
    """
    drawn = bits(key, shape, xp=xp, device=device) >> 8
    if not hasattr(probability, "shape"):
        return drawn < round(probability * 2**24)
    # 24 bits are exact in float32; an integer made of a number on the device would be compared more slowly
    return array_namespace(drawn, probability).astype(drawn, probability.dtype) < probability * 2.0**24


def _host_words(key: Key, size: int) -> tuple[np.ndarray, np.ndarray]:
    counter = np.arange(size, dtype=np.uint64)
    low, high = (np.asarray(word, dtype=np.uint32) for word in key.words)
    return threefry(
        (low, high), (counter & _WORD).astype(np.uint32), (counter >> 32).astype(np.uint32), _identity
    )


def uniform(key: Key, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Return a float64 host array of ``shape``, uniform in [low, high) with 53 random bits.

    >>> uniform(key(0), (2,)).round(6)
    array([0.418457, 0.314682])
    """
    first, second = _host_words(key, math.prod(shape))
    whole = (first >> 5).astype(np.float64) * 2.0**26 + (second >> 6)
    return low + (high - low) * np.reshape(whole * 2.0**-53, tuple(shape))


def normal(key: Key, shape: Sequence[int], mean: float = 0.0, std: float = 1.0) -> np.ndarray:
    """Return a float64 host array of ``shape`` of normal draws, by the transformation of Box and Muller."""
    size = math.prod(shape)
    half = (size + 1) // 2
    radius = np.sqrt(-2 * np.log1p(-uniform(key.fold("radius"), (half,))))
    angle = 2 * np.pi * uniform(key.fold("angle"), (half,))
    drawn = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]
    return mean + std * np.reshape(drawn, tuple(shape))


def normal_vector(key: Key, size: int, *, dtype: Any, xp: Any, device: Any = None) -> Any:
    """Return ``size`` standard normal numbers, drawn on ``device`` in array operations, by Box and Muller.

    The words are the same on every device; logarithms and cosines may differ in the last place.
    """
    half = (size + 1) // 2
    words = bits(key, (2 * half,), xp=xp, device=device) >> 9
    xp = array_namespace(words)
    uniform = (xp.astype(words, dtype) + 1.0) * 2.0**-23  # above 0, at most 1, exact in every dtype
    radius = xp.sqrt(-2.0 * xp.log(uniform[:half]))
    angle = (2.0 * math.pi) * uniform[half:]
    return xp.concat([radius * xp.cos(angle), radius * xp.sin(angle)])[:size]


def permutation(key: Key, n: int) -> np.ndarray:
    """Return the numbers 0 .. n-1 in random order, as an int64 host array.

    >>> sorted(permutation(key(7), 5).tolist())
    [0, 1, 2, 3, 4]
    """
    first, second = _host_words(key, n)
    return _order((first.astype(np.uint64) << np.uint64(32)) | second)


def permutations(key: Key, first: int, count: int, n: int) -> np.ndarray:
    """Return ``permutation(key.fold(i), n)`` for ``count`` numbers i from ``first`` on, (count, n).

    >>> bool((permutations(key(7), 3, 2, 9)[1] == permutation(key(7).fold(4), 9)).all())
    True
    """
    low, high = words_of_steps(key, first, count, ()).T
    counter = np.arange(n, dtype=np.uint32)
    x0, x1 = threefry((low[:, None], high[:, None]), counter, counter * 0, _identity)
    return np.stack([_order(row) for row in (x0.astype(np.uint64) << np.uint64(32)) | x1])


def _order(words: np.ndarray) -> np.ndarray:
    """Return the order of 64-bit words; equal ones, which are rare, in the order in which they stand."""
    width = np.uint64(len(words).bit_length())
    # Sorting is several times as fast as finding the order: so the last bits of each word make place for its
    # number, and the order of the others is that of the words if no two of them are the same.
    numbered = ((words >> width) << width) | np.arange(len(words), dtype=np.uint64)
    numbered.sort()
    others = numbered >> width
    if (others[1:] == others[:-1]).any():
        return np.argsort(words, kind="stable")
    return (numbered & ((np.uint64(1) << width) - np.uint64(1))).astype(np.int64)

"""The counter-based generator: published vectors, distributions, the same bits on every device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xpnet import rng
from xpnet.backends import Backend
from xpnet.errors import ConfigError

# Known answers of threefry2x32-20, published with the Random123 library: key, counter, output.
ONES = 0xFFFFFFFF
VECTORS = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]
every_vector = pytest.mark.parametrize(("words", "counter", "want"), VECTORS)


@every_vector
def test_published_vectors_with_python_integers(words: Any, counter: Any, want: Any) -> None:
    assert rng.threefry(words, *counter) == want


@every_vector
def test_published_vectors_with_arrays(words: Any, counter: Any, want: Any, backend: Backend) -> None:
    from xpnet.backends.lacking import word_dtype

    dtype = word_dtype(backend.xp)
    wide = backend.name == "torch"  # words travel in int64 there and are reduced modulo 2**32
    arrays = [backend.xp.asarray([word], dtype=dtype, device=backend.device) for word in (*words, *counter)]
    options = {} if wide else {"wrap": lambda word: word}
    drawn = rng.threefry((arrays[0], arrays[1]), arrays[2], arrays[3], **options)
    assert tuple(int(word[0]) for word in drawn) == want


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (0,), (2, 0, 3)], ids=str)
def test_bits_are_equal_on_every_backend(shape: tuple[int, ...], backend: Backend) -> None:
    key = rng.key(2**63 + 11).fold("mask", 3)
    host = rng.bits(key, shape, xp=np)
    drawn = rng.bits(key, shape, xp=backend.xp, device=backend.device)
    assert tuple(drawn.shape) == shape
    np.testing.assert_array_equal(backend.to_host(drawn).astype("uint32"), host)
    size = int(np.prod(shape))
    half = (size + 1) // 2
    counted = [rng.threefry(key.words, i, 0) for i in range(half)]
    np.testing.assert_array_equal(
        host.ravel(), np.asarray([c[0] for c in counted] + [c[1] for c in counted], dtype="uint32")[:size]
    )


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.9, 1.0])
def test_bernoulli(probability: float, backend: Backend) -> None:
    key = rng.key(5)
    drawn = backend.to_host(rng.bernoulli(key, probability, (200, 101), xp=backend.xp, device=backend.device))
    assert drawn.dtype == bool
    np.testing.assert_array_equal(drawn, rng.bernoulli(key, probability, (200, 101), xp=np))
    spread = np.sqrt(probability * (1 - probability) / drawn.size)
    assert abs(drawn.mean() - probability) <= 5 * spread


def test_uniform_draws() -> None:
    drawn = rng.uniform(rng.key(1), (400, 250))
    assert drawn.dtype == np.float64
    assert drawn.min() >= 0.0
    assert drawn.max() < 1.0
    n = drawn.size
    assert abs(drawn.mean() - 0.5) < 5 * np.sqrt(1 / 12 / n)
    assert abs(drawn.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / n)
    assert abs(np.corrcoef(drawn.ravel()[:-1], drawn.ravel()[1:])[0, 1]) < 5 / np.sqrt(n)
    shifted = rng.uniform(rng.key(1), (400, 250), -2.0, 3.0)
    np.testing.assert_allclose(shifted, -2 + 5 * drawn)


def test_normal_draws() -> None:
    drawn = rng.normal(rng.key(1), (400, 250))
    n = drawn.size
    moments = [drawn.mean(), drawn.var() - 1, (drawn**3).mean(), (drawn**4).mean() - 3]
    spreads = [1, np.sqrt(2), np.sqrt(15), np.sqrt(96)]
    for moment, spread in zip(moments, spreads, strict=True):
        assert abs(moment) < 5 * spread / np.sqrt(n)
    np.testing.assert_allclose(rng.normal(rng.key(1), (400, 250), 2.0, 3.0), 2 + 3 * drawn)
    assert np.all(np.isfinite(drawn))


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**64 - 1])
def test_distributions_by_kolmogorov_and_smirnov(seed: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    assert stats.kstest(rng.uniform(rng.key(seed), (20_000,)), "uniform").pvalue > 1e-4
    assert stats.kstest(rng.normal(rng.key(seed), (20_000,)), "norm").pvalue > 1e-4


def test_low_bits_are_as_good_as_high_ones() -> None:
    words = rng.bits(rng.key(3), (40_000,), xp=np)
    ones = [(words >> bit & 1).mean() for bit in range(32)]
    assert np.abs(np.asarray(ones) - 0.5).max() < 5 * 0.5 / np.sqrt(words.size)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 100, 1797])
def test_permutations(n: int) -> None:
    drawn = rng.permutation(rng.key(4), n)
    assert drawn.dtype == np.int64
    np.testing.assert_array_equal(np.sort(drawn), np.arange(n))
    if n >= 100:
        assert np.any(drawn != rng.permutation(rng.key(5), n))
        assert not np.array_equal(drawn, np.arange(n))


@pytest.mark.parametrize("n", [0, 1, 2, 255, 256, 1000])
@pytest.mark.parametrize("kinds", [2, 2**40, 2**63])
def test_words_are_ordered_as_by_a_stable_sort(n: int, kinds: int) -> None:
    draw = np.random.default_rng(n)
    words = draw.integers(0, kinds, size=n, dtype=np.uint64) * np.uint64(2**63 // kinds)
    for given in (words, words // np.uint64(2**23), words | np.uint64(2**63), np.repeat(words, 2)):
        np.testing.assert_array_equal(rng._order(given), np.argsort(given, kind="stable"), strict=True)


def test_every_permutation_of_three_is_as_likely() -> None:
    drawn = [tuple(rng.permutation(rng.key(0).fold(i), 3).tolist()) for i in range(3000)]
    counts = np.asarray([drawn.count(p) for p in set(drawn)])
    assert counts.size == 6
    assert ((counts - 500) ** 2 / 500).sum() < 25  # chi-squared with five degrees of freedom


@pytest.mark.parametrize("draw", [rng.uniform, rng.normal])
def test_draws_depend_on_key_and_index_alone(draw: Any) -> None:
    key = rng.key(9).fold("a")
    np.testing.assert_array_equal(draw(key, (6, 4)), draw(rng.key(9).fold("a"), (24,)).reshape(6, 4))
    assert np.any(draw(key, (24,)) != draw(key.fold(0), (24,)))


def test_numbers_that_will_never_change() -> None:
    """Runs of years ago are repeated only if the draws stay what they are."""
    np.testing.assert_array_equal(rng.uniform(rng.key(0), (2,)), [0.41845711022987275, 0.3146817218764961])
    assert rng.permutation(rng.key(0), 8).tolist() == [7, 1, 5, 2, 0, 6, 4, 3]
    assert rng.key(0).fold("init", 0, "weight").words == (3031098918, 1502051889)


def test_folds_do_not_collide() -> None:
    root = rng.key(0)
    keys = [root.fold(i) for i in range(300)]
    keys += [
        root.fold(name) for name in ("init", "dropout", "shuffle", "split", "weight", "bias", "a", "b", "")
    ]
    keys += [root.fold("init", i) for i in range(50)] + [root.fold(i, "init") for i in range(50)]
    keys += [root.fold(2**32 + i) for i in range(50)] + [root.fold(i, 0) for i in range(50)] + [root]
    keys += [rng.key(seed).fold(i) for seed in (1, 2**32, 2**63) for i in range(50)]
    assert len({key.words for key in keys}) == len(keys)


def test_folding_in_steps_is_folding_at_once() -> None:
    assert rng.key(1).fold("a", 2, "b") == rng.key(1).fold("a").fold(2).fold("b")
    assert rng.key(1).fold("a", 2).words == rng.key(1).fold("a").fold(2).words
    assert rng.key(1).fold(1, 2).words != rng.key(1).fold(2, 1).words
    assert hash(rng.key(1).fold("a")) == hash(rng.key(1).fold("a"))


@pytest.mark.parametrize("seed", [0, 7, 2**32, 2**64 - 1, np.int64(3), np.uint64(2**63)])
def test_seeds(seed: Any) -> None:
    assert rng.key(seed) == rng.key(int(seed))


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, "1", None, True, np.float64(2)])
def test_seeds_that_cannot_be_meant(seed: Any) -> None:
    with pytest.raises(ConfigError, match=r"seed: expected a whole number from 0 to 2\*\*64 - 1, found"):
        rng.key(seed)

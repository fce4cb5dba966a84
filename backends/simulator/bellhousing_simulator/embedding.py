"""Embeddings: each token has a fixed vector; a text's is the sum of its tokens' vectors, of length 1."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from bellhousing_simulator.noise import noise

DIMENSION = 16


def embedding(ids: Sequence[int], weights_seed: int) -> tuple[float, ...]:
    """Return the vector of the tokens, whatever their order; equal texts have equal vectors."""
    total = [0.0] * DIMENSION
    for token, count in sorted(Counter(ids).items()):
        for place, value in enumerate(_token_vector(weights_seed, token)):
            total[place] += count * value
    length = math.hypot(*total)
    return tuple([value / length for value in total]) if length else tuple(total)


@lru_cache(maxsize=1024)
def _token_vector(weights_seed: int, token: int) -> tuple[float, ...]:
    return noise(f"embedding/{weights_seed}/{token}", DIMENSION)

"""A prefix cache that holds no keys and values: it only knows which prompts were there, and saves their time."""

from collections import OrderedDict
from collections.abc import Sequence

BLOCK = 16
"""Tokens of a block: only whole blocks are found."""

MOST_BLOCKS = 4096


class PrefixCache:
    """The blocks of prompts that were computed, the least recently used going first.

    `queries` and `hits` count tokens.
    """

    def __init__(self) -> None:
        self.queries = 0
        self.hits = 0
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def take(self, adapter_digest: str, prompt: Sequence[int]) -> int:
        """Note a prompt; return how many of its first tokens were there already, never all of them.

        Weights are told apart by their digest: under one name there may be others later.
        """
        keys, key = [], hash(adapter_digest)
        for end in range(BLOCK, len(prompt), BLOCK):
            key = hash((key, tuple(prompt[end - BLOCK : end])))
            keys.append(key)
        found = 0
        for key in keys:
            if key not in self._blocks:
                break
            found += BLOCK
        for key in keys:
            self._blocks[key] = None
            self._blocks.move_to_end(key)
        while len(self._blocks) > MOST_BLOCKS:
            self._blocks.popitem(last=False)
        self.queries += len(prompt)
        self.hits += found
        return found

"""A cache of one's own: pages of keys in any order, read through a table to decode a token."""

import attnproto
import numpy as np

PAGE, HEADS, D = 16, 2, 64


class Cache:
    """Pages that sequences take as they grow."""

    def __init__(self, pages: int, sequences: int, most_pages: int):
        self.k = np.zeros((pages, HEADS, PAGE, D), np.float16)
        self.v = np.zeros_like(self.k)
        self.table = np.zeros((sequences, most_pages), np.int32)
        self.lengths = np.zeros(sequences, np.int32)
        self._free = list(np.random.default_rng(1).permutation(pages))

    def append(self, sequence: int, k: np.ndarray, v: np.ndarray) -> None:
        """Add one token's key and value, [Hkv, D], of a sequence."""
        block, slot = divmod(int(self.lengths[sequence]), PAGE)
        if slot == 0:
            self.table[sequence, block] = self._free.pop()
        page = self.table[sequence, block]
        self.k[page, :, slot], self.v[page, :, slot] = k, v
        self.lengths[sequence] += 1


def main() -> None:
    """Fill a cache, take one decode step, and find the bits of contiguous attention."""
    random = np.random.default_rng(0)
    contexts = (5, 77, 130)
    cache = Cache(pages=32, sequences=3, most_pages=9)
    tokens = [random.standard_normal((2, n, HEADS, D)).astype(np.float16) for n in contexts]
    for sequence, (keys, values) in enumerate(tokens):
        for k, v in zip(keys, values, strict=True):
            cache.append(sequence, k, v)
    q = random.standard_normal((3, 8, 1, D)).astype(np.float16)
    out = attnproto.paged_attention(q, cache.k, cache.v, cache.table, cache.lengths)
    for sequence, (keys, values) in enumerate(tokens):
        k, v = (x.astype(np.float64).transpose(1, 0, 2).repeat(4, axis=0) for x in (keys, values))
        scores = np.einsum("hqd,hkd->hqk", q[sequence].astype(np.float64), k) / np.sqrt(D)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        truth = (weights / weights.sum(-1, keepdims=True)) @ v
        error = np.abs(out[sequence] - truth).max()
        assert error < 2e-3
        pages = cache.table[sequence, : -(-contexts[sequence] // PAGE)]
        print(
            f"sequence {sequence}: {contexts[sequence]:3} keys in pages {pages}, "
            f"worst error {error:.1e}"
        )


if __name__ == "__main__":
    main()

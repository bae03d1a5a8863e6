"""Elements of several vectors put in another order, in steps that a processor has.

Vectors are taken 64 bytes at a time: code generators do well with an instruction that reads
two such vectors, and badly with one wide shuffle of many.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from attnproto.compiler.analysis.lane_values import LANES
from attnproto.compiler.ir.types import size_of

from .value_map import Writer

_BYTES = 64


def chunk(kind: str) -> int:
    """Elements of a type that are shuffled at a time."""
    return min(_BYTES // size_of(kind), LANES)


def _shuffle(w: Writer, kind: str, size: int, a: str, b: str, order: Sequence[int]) -> str:
    vector = f"<{size} x {kind}>"
    return w.let(f"shufflevector {vector} {a}, {vector} {b}, {_mask(tuple(order))}")


@functools.cache  # a kernel's accesses go by few orders
def _mask(order: tuple[int, ...]) -> str:
    places = ", ".join(f"i32 {i}" if i >= 0 else "i32 poison" for i in order)
    return f"<{len(order)} x i32> <{places}>"


def pack(
    w: Writer, kind: str, pieces: list[str], counts: list[int]
) -> tuple[list[str], list[tuple[int, int]]]:
    """Pieces side by side in chunks.

    Returns:
        The chunks, and the (chunk, place) of every element in the order of the pieces.
    """
    size = chunk(kind)
    chunks: list[str] = []
    places: list[tuple[int, int]] = []
    group: list[tuple[str, int]] = []

    def flush() -> None:
        if group:
            chunks.append(_concatenate(w, kind, group, size))
            group.clear()

    used = 0
    for piece, count in zip(pieces, counts, strict=True):
        for begin in range(0, count, size):
            part = min(size, count - begin)
            text = piece
            if part != count:
                order = range(begin, begin + part)
                text = _shuffle(w, kind, count, piece, "poison", order)
            room = 1 << (part - 1).bit_length()
            if used + room > size or (group and group[-1][1] != room):
                flush()
                used = 0
            if part != room:
                order = [*range(part), *[-1] * (room - part)]
                text = _shuffle(w, kind, part, text, "poison", order)
            places += [(len(chunks), used + i) for i in range(part)]
            group.append((text, room))
            used += room
    flush()
    return chunks, places


def _concatenate(w: Writer, kind: str, group: list[tuple[str, int]], size: int) -> str:
    """Vectors of one size, a power of two, as one chunk."""
    texts, count = [t for t, _ in group], group[0][1]
    while count < size:
        if len(texts) % 2:
            texts.append("poison")
        texts = [
            a if len(texts) == 2 and b == "poison" and count == size
            else _shuffle(w, kind, count, a, b, range(2 * count))
            for a, b in zip(texts[::2], texts[1::2], strict=True)
        ]  # fmt: skip
        count *= 2
    return texts[0]


def compose(w: Writer, kind: str, chunks: list[str], wanted: list[tuple[int, int]]) -> str:
    """A chunk made of elements of others, each given by (chunk, place)."""
    size = chunk(kind)
    sources = list(dict.fromkeys(number for number, _ in wanted))
    if len(wanted) < size:
        wanted = [*wanted, *[(-1, -1)] * (size - len(wanted))]
    parts: list[tuple[str, set[int]]] = []
    for k in range(0, len(sources), 2):
        pair = sources[k : k + 2]
        order = [pair.index(c) * size + i if c in pair else -1 for c, i in wanted]
        a, b = chunks[pair[0]], chunks[pair[1]] if len(pair) > 1 else "poison"
        shuffled = a if order == list(range(size)) else _shuffle(w, kind, size, a, b, order)
        parts.append((shuffled, {n for n, at in enumerate(order) if at >= 0}))
    while len(parts) > 1:
        (a, mine), (b, other) = parts[:2]
        order = [n if n in mine else size + n if n in other else -1 for n in range(size)]
        parts = [*parts[2:], (_shuffle(w, kind, size, a, b, order), mine | other)]
    return parts[0][0]


def gather(w: Writer, kind: str, chunks: list[str], wanted: list[tuple[int, int]]) -> str:
    """A vector of lanes, each lane's element given by (chunk, place)."""
    size = chunk(kind)
    composed = [compose(w, kind, chunks, wanted[at : at + size]) for at in range(0, LANES, size)]
    return join(w, kind, composed)


def halves(w: Writer, kind: str, words: str) -> tuple[str, str]:
    """The lower and the upper 2 bytes of each lane's i32, as elements of a type."""
    word_type = f"<{LANES} x i32>"
    upper = w.let(f"lshr {word_type} {words}, splat (i32 16)")
    narrowed = [w.let(f"trunc {word_type} {v} to <{LANES} x i16>") for v in (words, upper)]
    if kind != "i16":
        narrowed = [w.let(f"bitcast <{LANES} x i16> {v} to <{LANES} x {kind}>") for v in narrowed]
    return narrowed[0], narrowed[1]


def recast(w: Writer, kind: str, to: str, bits: str) -> str:
    """A chunk's bits as elements of another type."""
    return w.let(f"bitcast <{chunk(kind)} x {kind}> {bits} to <{chunk(to)} x {to}>")


def split(w: Writer, kind: str, lanes: str) -> list[str]:
    """A vector of lanes as chunks."""
    size = chunk(kind)
    if size == LANES:
        return [lanes]
    return [
        _shuffle(w, kind, LANES, lanes, "poison", range(begin, begin + size))
        for begin in range(0, LANES, size)
    ]


def join(w: Writer, kind: str, chunks: list[str]) -> str:
    """The reverse of ``split``."""
    count = chunk(kind)
    while len(chunks) > 1:
        chunks = [
            _shuffle(w, kind, count, a, b, range(2 * count))
            for a, b in zip(chunks[::2], chunks[1::2], strict=True)
        ]
        count *= 2
    return chunks[0]


def part(w: Writer, kind: str, elements: str, begin: int, count: int) -> str:
    """Neighbouring elements of a chunk."""
    size = chunk(kind)
    if count == size:
        return elements
    return _shuffle(w, kind, size, elements, "poison", range(begin, begin + count))

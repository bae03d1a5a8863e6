"""What may be done to scores and positions: function constants of one base kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from attnproto.errors import UnsupportedProblem


def number_of(value: object) -> float:
    """A number as Python's own, infinite where that holds none so large; NaN of anything else."""
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding (Su et al., 2021, arXiv 2104.09864).

    Args:
        theta: base of the frequencies; pair i turns by theta^(-2 i / D) a position.
        interleaved: pairs are dimensions 2 i and 2 i + 1; otherwise i and i + D / 2.
        offset: position of the first key.

    Raises:
        UnsupportedProblem: theta is not a finite number above 1, or the offset is negative.
    """

    theta: float = 10000.0
    interleaved: bool = True
    offset: int = 0

    def __post_init__(self):
        theta = number_of(self.theta)
        if not 1.0 < theta < math.inf:
            raise UnsupportedProblem(
                f"[flash.rope] found theta={self.theta!r}, needs a finite number above 1; "
                "pass theta=10000.0"
            )
        object.__setattr__(self, "theta", theta)
        if not isinstance(self.offset, (int, np.integer)) or not 0 <= self.offset < 2**31:
            raise UnsupportedProblem(
                f"[flash.rope] found offset={self.offset!r}, needs a whole number from 0 to "
                "2147483647; pass offset=0"
            )


@lru_cache(maxsize=8)
def rope_table(rope: Rope, first: int, count: int, d: int) -> np.ndarray:
    """Return the rotations of consecutive positions.

    Args:
        rope: frequencies; its offset is added to every position.
        first: first position.
        count: positions.
        d: dimensions of a head, D.

    Returns:
        [count, D / 2, 2] of (cos, sin), float32 rounded from FP64, read-only.
    """
    frequencies = rope.theta ** (-np.arange(0, d, 2, dtype=np.float64) / d)
    angles = np.arange(first, first + count, dtype=np.float64)[:, None] + rope.offset
    angles = angles * frequencies
    table = np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)
    table.flags.writeable = False
    return table


def alibi_slopes(heads: int) -> np.ndarray:
    """Return the slope of each head (Press et al., 2022, arXiv 2108.12409, section 3).

    For a power of two n: 2^(-8 (h + 1) / n). For other numbers, the slopes of the next lower power
    of two, then every other slope of the next higher one.

    Args:
        heads: query heads, Hq.

    Returns:
        [Hq] float64.
    """
    power = 1 << (heads.bit_length() - 1)
    head = np.arange(heads)
    steps = np.where(head < power, 8 * (head + 1) / power, 4 * (2 * (head - power) + 1) / power)
    return 2.0**-steps


@dataclass(frozen=True)
class Variant:
    """The switches of the flash kernel. Scores pass the cap first, then the bias, then the masks.

    Args:
        causal: query i sees keys j <= i + (Nkv - Nq).
        window: a query sees only that many keys up to its own position, however many there are;
            needs causal.
        softcap: scores become cap tanh(score / cap).
        alibi: scores get slope(head) (key - position), slopes as ``alibi_slopes``.
        rope: rotation of Q and K by their positions.

    Raises:
        UnsupportedProblem: a window without causal or below 1, or a cap that is not a positive
            number.
    """

    causal: bool = False
    window: int | None = None
    softcap: float | None = None
    alibi: bool = False
    rope: Rope | None = None

    def __post_init__(self):
        for name in ("causal", "alibi"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise UnsupportedProblem(
                    f"[flash.launch] found {name}={getattr(self, name)!r}, needs True or False; "
                    "pass a bool"
                )
        if self.window is not None:
            if not isinstance(self.window, (int, np.integer)) or self.window < 1:
                raise UnsupportedProblem(
                    f"[flash.launch] found window={self.window!r}, needs a whole number from 1 on; "
                    "pass window=None for all keys"
                )
            if not self.causal:
                raise UnsupportedProblem(
                    f"[flash.launch] found window={self.window} without causal, needs both; "
                    "pass causal=True"
                )
        if self.softcap is not None:
            cap = number_of(self.softcap)
            if not 1e-6 <= cap <= 1e6:
                raise UnsupportedProblem(
                    f"[flash.launch] found softcap={self.softcap!r}, needs a number from 1e-6 to "
                    "1e6; pass softcap=None for none"
                )
            object.__setattr__(self, "softcap", cap)
        if self.rope is not None and not isinstance(self.rope, Rope):
            raise UnsupportedProblem(
                f"[flash.launch] found rope={self.rope!r}, needs a Rope; pass rope=Rope()"
            )

    @property
    def constants(self) -> dict[str, bool]:
        """Function constants, by name, that choose this variant."""
        return {
            "causal": bool(self.causal),
            "sliding_window": self.window is not None,
            "softcap": self.softcap is not None,
            "alibi": bool(self.alibi),
            "rope": self.rope is not None,
            "rope_interleaved": self.rope is not None and bool(self.rope.interleaved),
        }

"""One attention problem: its sizes, its work, its inputs.

Dimension letters, used everywhere: ``B`` batch, ``Hq`` query heads, ``Hkv`` key and
value heads, ``Nq`` queries, ``Nkv`` keys, ``D`` head dimension.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from .dtypes import BY_NAME
from .errors import UnsupportedProblem

# Standard deviation of q and k in each input class. Scores q.k / sqrt(D) then have the
# square of it: 1 for "normal"; 2025 for "large", whose extremes reach about 1e4.
INPUT_CLASSES: dict[str, float] = {"normal": 1.0, "large": 45.0}


@dataclass(frozen=True)
class AttentionProblem:
    """Sizes, element type and mask of one scaled dot-product attention.

    Args:
        B: Batch entries.
        Hq: Query heads; a multiple of ``Hkv``.
        Hkv: Key and value heads.
        Nq: Queries.
        Nkv: Keys.
        D: Head dimension.
        dtype: ``"f16"``, ``"bf16"`` or ``"f32"``, of inputs and output.
        causal: Query ``i`` sees keys ``j <= i + (Nkv - Nq)``.

    Raises:
        UnsupportedProblem: A size below 1, an unknown dtype, or heads that do not divide.

    Examples:
        >>> AttentionProblem(1, 8, 8, 1024, 1024, 64, "f16").flops
        2147483648
    """

    B: int
    Hq: int
    Hkv: int
    Nq: int
    Nkv: int
    D: int
    dtype: str = "f16"
    causal: bool = False

    def __post_init__(self) -> None:
        for name in ("B", "Hq", "Hkv", "Nq", "Nkv", "D"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UnsupportedProblem(
                    f"[problem] found {name}={value!r}, needs a whole number above 0; "
                    f"pass {name}=1 or more"
                )
        if self.dtype not in BY_NAME:
            raise UnsupportedProblem(
                f"[problem] found dtype={self.dtype!r}, needs one of {', '.join(BY_NAME)}; "
                "choose one of these"
            )
        if self.Hq % self.Hkv:
            raise UnsupportedProblem(
                f"[problem] found Hq={self.Hq} and Hkv={self.Hkv}, needs Hq a multiple of Hkv; "
                f"pass Hq={self.Hkv * max(1, self.Hq // self.Hkv)}"
            )

    @property
    def element_type(self) -> np.dtype:
        """The numpy dtype of inputs and output."""
        return BY_NAME[self.dtype].dtype

    @property
    def group(self) -> int:
        """Query heads that share one key and value head."""
        return self.Hq // self.Hkv

    @property
    def scale(self) -> float:
        """The default score scale, ``D**-0.5``."""
        return float(self.D) ** -0.5

    @cached_property
    def visible_pairs(self) -> int:
        """Query-key pairs the mask lets through, for one head."""
        if not self.causal:
            return self.Nq * self.Nkv
        last = np.arange(self.Nq, dtype=np.int64) + (self.Nkv - self.Nq) + 1
        return int(np.clip(last, 0, self.Nkv).sum())

    @property
    def flops(self) -> int:
        """Useful work in FLOP: ``4 * B * Hq * visible_pairs * D``; the softmax is not counted."""
        return 4 * self.B * self.Hq * self.visible_pairs * self.D

    @property
    def bytes(self) -> int:
        """Least device traffic in bytes: Q, K, V read once and O written once."""
        rows = 2 * self.Hq * self.Nq + 2 * self.Hkv * self.Nkv
        return self.B * rows * self.D * self.element_type.itemsize

    def as_dict(self) -> dict[str, int | str | bool]:
        """The fields, in order, as plain values."""
        return asdict(self)

    def inputs(
        self, seed: int = 0, input_class: str = "normal"
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw q, k and v, the same for the same seed on every machine.

        Args:
            seed: Of numpy's PCG64 stream.
            input_class: ``"normal"`` (scores of deviation 1) or ``"large"`` (scores to 1e4).

        Returns:
            q ``[B, Hq, Nq, D]``, k and v ``[B, Hkv, Nkv, D]``, in ``dtype``.

        Raises:
            UnsupportedProblem: An unknown input class.
        """
        if input_class not in INPUT_CLASSES:
            raise UnsupportedProblem(
                f"[problem.inputs] found input class {input_class!r}, needs one of "
                f"{', '.join(INPUT_CLASSES)}; choose one of these"
            )
        deviation = np.float32(INPUT_CLASSES[input_class])
        stream = np.random.Generator(np.random.PCG64(seed))

        def draw(heads: int, rows: int, factor: np.float32) -> np.ndarray:
            values = stream.standard_normal((self.B, heads, rows, self.D), dtype=np.float32)
            return (values * factor).astype(self.element_type)

        q = draw(self.Hq, self.Nq, deviation)
        k = draw(self.Hkv, self.Nkv, deviation)
        v = draw(self.Hkv, self.Nkv, np.float32(1.0))
        return q, k, v

"""MLX's published Metal kernels, fetched for the tests and never committed.

They come from the pinned mlx-metal wheel (third_party.py).
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from attnproto import Device, Dispatch

from .third_party import MLX

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*(?:include[ \t]+"([^"]+)"|pragma[ \t]+once)[^\n]*\n', re.M)
STEEL_HEADERS = ("utils.h", "steel/attn/kernels/steel_attention.h")


@functools.cache
def _headers() -> dict[str, str]:
    return MLX.read("mlx/include/mlx/backend/metal/kernels/")


def metallib() -> Path:
    """The same kernels as Apple's compiler has compiled them, 147 MB."""
    return MLX.unpack() / "mlx/lib/mlx.metallib"


def flattened(*headers: str) -> str:
    """Headers of the kernels' folder with everything they include, as one text."""
    seen: set[str] = set()

    def expand(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        text = _headers()[name] + "\n"
        inside = "mlx/backend/metal/kernels/"
        return _INCLUDE.sub(
            lambda m: expand(m.group(1).removeprefix(inside)) if m.group(1) else "", text
        )

    return "".join(expand(header) for header in headers)


def instantiated(text: str, **calls: str) -> str:
    """A text with an explicit instantiation for each kernel name."""
    lines = [
        f'template [[host_name("{name}")]] [[kernel]] decltype({call}) {call};'
        for name, call in calls.items()
    ]
    return "\n".join([text, *lines, ""])


@dataclass(frozen=True)
class SteelAttention:
    """How MLX launches its steel_attention kernel: 32 query rows, 4 simdgroups.

    Args:
        type_name: MSL's name of the elements' type.
        d: head dimension, a multiple of 8 up to 128.
    """

    type_name: str
    d: int

    @property
    def bk(self) -> int:
        """Keys in a block, as MLX chooses them."""
        return 32 if self.d < 128 else 16

    @property
    def call(self) -> str:
        """The template with its arguments."""
        sizes = f"32, {self.bk}, {self.d}, {self.d}, 4, 1"
        return f"attention<{self.type_name}, {sizes}, {self.type_name}, float>"

    @property
    def text(self) -> str:
        """A text with the one kernel ``steel``."""
        return instantiated(flattened(*STEEL_HEADERS), steel=self.call)

    def constants(self, nq: int, nkv: int, causal: bool) -> dict[int | str, bool]:
        """Function constants for a launch."""
        aligned = {200: nq % 32 == 0, 201: nkv % self.bk == 0}
        return aligned | {300: False, 301: causal, 302: False, 303: False}

    def parameters(self, tensors: Sequence[np.ndarray]) -> bytes:
        """The struct of a launch over q, k, v and out, each [B, H, N, D]."""
        q, k = tensors[:2]
        (b, h, nq, d), nkv, bk = q.shape, k.shape[2], self.bk
        parameters = struct.pack(
            "6if7i", b, h, d, nq, nkv, h // k.shape[1], d**-0.5, -(-nq // 32), -(-nkv // bk),
            nq // 32, nkv // bk, nq % 32, nkv % bk, nkv - nq,
        )  # fmt: skip
        parameters += b"\0" * (-len(parameters) % 8)
        return parameters + struct.pack(
            "12q", *(s for t in tensors for s in (t[0].size, t[0, 0].size, d))
        )

    def dispatch(
        self,
        device: Device,
        tensors: Sequence[np.ndarray],
        *,
        causal: bool = False,
        buffers: Mapping[int, object] | None = None,
    ) -> Dispatch:
        """A launch over q, k, v and out, each [B, H, N, D].

        Args:
            device: where the kernel is compiled.
            tensors: they give the shapes, and are bound unless ``buffers`` are.
            causal: whether query i sees only keys j <= i + (Nkv - Nq).
            buffers: what is bound at 0 to 3 instead.
        """
        (b, h, nq, _), nkv = tensors[0].shape, tensors[1].shape[2]
        return Dispatch(
            device.library(self.text).pipeline("steel", self.constants(nq, nkv, causal)),
            (-(-nq // 32), h, b),
            (32, 4, 1),
            {**(buffers or dict(enumerate(tensors))), 4: self.parameters(tensors)},
        )

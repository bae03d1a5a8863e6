"""Tile geometry of the flash kernel: what exists, what it costs, which is chosen."""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from attnproto.device.pipelines import KernelSource
from attnproto.dtypes import BY_NUMPY, name_of
from attnproto.errors import UnsupportedProblem

from .text import TemplateArgument, instantiate

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

THREADGROUP_LIMIT_BYTES = 32768
LARGEST_D = 512
BLOCK_ROWS = (8, 16, 32, 64)
BLOCK_KEYS = (32, 64, 80, 128)
ROWS = (8, 16)
KEY_PATHS = {
    "lane": "keys_by_lane",
    "matrix": "keys_by_matrix",
    "staged8": "8",
    "staged16": "16",
    "staged32": "32",
    "ahead16": "keys_ahead + 16",
    "ahead32": "keys_ahead + 32",
    "ahead64": "keys_ahead + 64",
}
QUERY_PLACES = {
    "threadgroup": "query_in_threadgroup",
    "registers": "query_in_registers",
    "device": "query_in_device",
}
RESCALES = {
    "always": "rescale_always",
    "grown": "rescale_when_grown",
    "threshold": "rescale_past_threshold",
}


def dtype_name(dtype: DTypeLike) -> str:
    """Return the name of a supported element type.

    Args:
        dtype: anything numpy takes for a type, or the name ``bfloat16``.

    Returns:
        ``float16``, ``bfloat16`` or ``float32``.

    Raises:
        UnsupportedProblem: for any other type.
    """
    name = dtype if isinstance(dtype, str) else name_of(np.dtype(dtype))
    if name not in BY_NUMPY:
        raise UnsupportedProblem(
            f"[flash.launch] found dtype {name}, needs {_either(BY_NUMPY)}; convert the tensors"
        )
    return name


def _either(names: Iterable) -> str:
    *most, last = [str(n) for n in names]
    return f"{', '.join(most)} or {last}"


@dataclass(frozen=True)
class FlashTile:
    """One instantiation of the flash kernel.

    Args:
        br: query rows of a threadgroup, Br.
        bc: keys of a step, Bc.
        d: dimensions of a head, D, a multiple of 8 up to 512.
        dtype: element type of Q, K, V and O; kept as its name.
        rows: query rows of a simdgroup, 8 or 16.
        keys: how K and V are read: ``lane`` and ``matrix`` straight from device memory, by permuted
            vector loads or by ``simdgroup_load``; ``staged8``, ``staged16``, ``staged32`` through
            threadgroup memory, that many keys at a time; ``ahead16``, ``ahead32`` and ``ahead64``
            likewise, the next ones on their way into registers.
        query: where Q stays: ``threadgroup``, ``registers`` or ``device``. By default threadgroup
            memory where the tile fits, device memory where it does not.
        rescale: when O is multiplied by the growth of the maximum: ``always``, ``grown`` or past a
            ``threshold`` of 2^8.

    Raises:
        UnsupportedProblem: the tile does not exist, or needs more than 32768 bytes of threadgroup
            memory.

    Examples:
        >>> FlashTile(32, 64, 128, "float16").threadgroup_bytes
        8192
    """

    br: int
    bc: int
    d: int
    dtype: str
    rows: int = 8
    keys: str = "lane"
    query: str | None = None
    rescale: str = "grown"

    def __post_init__(self):
        object.__setattr__(self, "dtype", dtype_name(self.dtype))
        check_head_dimension(self.d)
        for field, value, known in (
            ("br", self.br, BLOCK_ROWS),
            ("bc", self.bc, BLOCK_KEYS),
            ("rows", self.rows, ROWS),
            ("keys", self.keys, KEY_PATHS),
            ("query", self.query, (None, *QUERY_PLACES)),
            ("rescale", self.rescale, RESCALES),
        ):
            if value not in known or isinstance(value, float):
                raise UnsupportedProblem(
                    f"[flash.tile] found {field}={value!r}, needs {_either(known)}; "
                    f"pass {field}={next(k for k in known if k is not None)!r}"
                )
        if self.br % self.rows:
            raise UnsupportedProblem(
                f"[flash.tile] found br={self.br} with rows={self.rows}, needs whole simdgroups; "
                "pass rows=8"
            )
        if self.bc % max(self.staged_keys, 1):
            raise UnsupportedProblem(
                f"[flash.tile] found bc={self.bc} with keys={self.keys!r}, needs whole chunks; "
                f"pass keys='{self.way}16'"
            )
        if self.query is None:
            fits = self.query_tile_bytes + self.staged_bytes <= THREADGROUP_LIMIT_BYTES
            object.__setattr__(self, "query", "threadgroup" if fits else "device")
        if self.threadgroup_bytes > THREADGROUP_LIMIT_BYTES:
            raise UnsupportedProblem(
                f"[flash.tile] found {self.threadgroup_bytes} bytes of threadgroup memory for "
                f"{self.name}, needs at most {THREADGROUP_LIMIT_BYTES}; pass a smaller br or "
                "query='device'"
            )

    @property
    def element_bytes(self) -> int:
        """Bytes of one element."""
        return BY_NUMPY[self.dtype].nbytes

    @property
    def way(self) -> str:
        """How K and V are read: ``lane``, ``matrix``, ``staged`` or ``ahead``."""
        return self.keys.rstrip(string.digits)

    @property
    def staged_keys(self) -> int:
        """Keys held in threadgroup memory at once, 0 when K and V are read in place."""
        return int(self.keys.removeprefix(self.way) or 0)

    @property
    def query_tile_bytes(self) -> int:
        """Bytes of a tile of queries, Br D elements."""
        return self.br * self.d * self.element_bytes

    @property
    def staged_bytes(self) -> int:
        """Bytes of a staged chunk, whose rows are padded by 16 bytes."""
        return self.staged_keys * (self.d * self.element_bytes + 16)

    @property
    def threadgroup_bytes(self) -> int:
        """Bytes of threadgroup memory that the kernel uses."""
        queries = self.query_tile_bytes if self.query == "threadgroup" else 0
        return queries + self.staged_bytes

    @property
    def threads(self) -> int:
        """Threads of a threadgroup."""
        return self.br // self.rows * 32

    @property
    def template_arguments(self) -> tuple[TemplateArgument, ...]:
        """The kernel's template arguments, in order."""
        msl_type = BY_NUMPY[self.dtype].msl
        return (
            TemplateArgument(msl_type, msl_type),
            TemplateArgument(str(self.br), f"br{self.br}"),
            TemplateArgument(str(self.bc), f"bc{self.bc}"),
            TemplateArgument(str(self.d), f"d{self.d}"),
            TemplateArgument(str(self.rows), f"rows{self.rows}"),
            TemplateArgument(KEY_PATHS[self.keys], f"keys_{self.keys}"),
            TemplateArgument(QUERY_PLACES[self.query], f"query_{self.query}"),
            TemplateArgument(RESCALES[self.rescale], f"rescale_{self.rescale}"),
        )

    @property
    def name(self) -> str:
        """The kernel's name, every template argument joined by ``_``."""
        return "_".join(["flash", *(a.label for a in self.template_arguments)])

    @property
    def source(self) -> KernelSource:
        """The kernel's text."""
        return instantiate("flash/flash.metal", "flash", self.template_arguments)


def check_head_dimension(d: int) -> None:
    """Refuse a D that no kernel covers.

    Raises:
        UnsupportedProblem: unless D is a multiple of 8 from 8 to 512.
    """
    if d > LARGEST_D:
        raise UnsupportedProblem(
            f"[flash.launch] found D={d}, needs at most {LARGEST_D}; no kernel here covers "
            "longer heads"
        )
    if d < 8 or d % 8:
        lower, upper = d // 8 * 8, (d // 8 + 1) * 8
        choice = f"D={upper}" if lower < 8 else f"D={lower} or D={upper}"
        raise UnsupportedProblem(
            f"[flash.launch] found D={d}, needs a multiple of 8; pass {choice}"
        )


def default_tile(nq: int, d: int, dtype: DTypeLike) -> FlashTile:
    """Choose a tile for a problem.

    No choice here is measured yet: Br is the smallest that still groups four simdgroups, Bc what
    published M4 figures favour (metal-flash-attention: 128 for FP16 at small D, 64 otherwise), and
    32 above D 256, where O alone takes a quarter of D registers a lane.

    Args:
        nq: queries, Nq.
        d: dimensions of a head, D.
        dtype: element type.

    Returns:
        A tile that exists for D and the type.

    Raises:
        UnsupportedProblem: no kernel covers D or the type.
    """
    name = dtype_name(dtype)
    br = 8 if nq <= 8 else 16 if nq <= 16 else 32
    bc = 128 if name != "float32" and d <= 64 else 64 if d <= 256 else 32
    tile = FlashTile(br, bc, d, name)
    # Half of the threadgroup memory, so that two threadgroups can share a core.
    while tile.br > 8 and tile.threadgroup_bytes > THREADGROUP_LIMIT_BYTES // 2:
        tile = replace(tile, br=tile.br // 2)
    return tile


def tile_for(
    tile: FlashTile | tuple[int, int] | None, nq: int, d: int, dtype: DTypeLike
) -> FlashTile:
    """What a caller's ``tile=`` stands for.

    Args:
        tile: a tile; (Br, Bc) for the tile of these blocks; None for ``default_tile``.
        nq: queries, Nq.
        d: dimensions of a head, D.
        dtype: element type.

    Raises:
        UnsupportedProblem: it is none of these, or a tile made for another D or type.
    """
    if tile is None:
        return default_tile(nq, d, dtype)
    if isinstance(tile, (tuple, list)) and len(tile) == 2:
        return FlashTile(*tile, d, dtype_name(dtype))
    if not isinstance(tile, FlashTile):
        raise UnsupportedProblem(
            f"[flash.launch] found tile={tile!r}, needs a FlashTile or (Br, Bc), or 'tuned' where "
            "a device is given; pass tile=(32, 64)"
        )
    if (tile.d, tile.dtype) != (d, dtype_name(dtype)):
        raise UnsupportedProblem(
            f"[flash.launch] found a tile for D={tile.d} {tile.dtype}, needs D={d} "
            f"{dtype_name(dtype)}; pass tile=({tile.br}, {tile.bc})"
        )
    return tile

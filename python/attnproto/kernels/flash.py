"""FlashAttention forward: tile geometry, checks, and the launch of ``metal/flash``.

Letters: ``B`` batch, ``Hq`` and ``Hkv`` query and KV heads, ``Nq`` queries, ``Nkv`` keys, ``D``
dimensions of a head, ``Br`` and ``Bc`` rows and keys of a tile.
"""

from __future__ import annotations

import math
import struct
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from attnproto.errors import UnsupportedProblem
from attnproto.kernels.registry import KernelSource, TemplateArgument, instantiate

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

THREADGROUP_LIMIT_BYTES = 32768
LARGEST_D = 256
# Beyond these the finite stand-ins for minus infinity stop being out of reach of every score.
SMALLEST_SCALE, LARGEST_SCALE = 1e-20, 1e20

BLOCK_ROWS = (8, 16, 32, 64)
BLOCK_KEYS = (32, 64, 80, 128)
MSL_TYPES = {"float16": "half", "float32": "float", "bfloat16": "bfloat"}
KEY_PATHS = {
    "lane": "keys_by_lane",
    "matrix": "keys_by_matrix",
    "staged8": "8",
    "staged16": "16",
    "staged32": "32",
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

_PARAMS = struct.Struct("<4i3fi")
PARAMS_BYTES = _PARAMS.size
if PARAMS_BYTES != 32:
    raise ImportError(f"FlashParams packs to {PARAMS_BYTES} bytes, metal/flash/params.h has 32")


def dtype_name(dtype: DTypeLike) -> str:
    """Return the name of a supported element type.

    Args:
        dtype: anything numpy takes for a type, or the name ``bfloat16``.

    Returns:
        ``float16``, ``float32`` or ``bfloat16``.

    Raises:
        UnsupportedProblem: for any other type.
    """
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if not isinstance(dtype, str) and not np.dtype(dtype).isnative:
        name += " of foreign byte order"
    if name not in MSL_TYPES:
        raise UnsupportedProblem(
            f"[flash.launch] found dtype {name}, needs {_either(MSL_TYPES)}; convert the tensors"
        )
    return name


def _either(names: Any) -> str:
    *most, last = [str(n) for n in names]
    return f"{', '.join(most)} or {last}"


@dataclass(frozen=True)
class FlashTile:
    """One instantiation of the flash kernel.

    Args:
        br: query rows of a threadgroup, Br.
        bc: keys of a step, Bc.
        d: dimensions of a head, D, a multiple of 8 up to 256.
        dtype: element type of Q, K, V and O; kept as its name.
        rows: query rows of a simdgroup, 8 or 16.
        keys: how K and V are read: ``lane`` and ``matrix`` straight from device memory, by permuted
            vector loads or by ``simdgroup_load``; ``staged8``, ``staged16``, ``staged32`` through
            threadgroup memory, that many keys at a time.
        query: where Q stays: ``threadgroup``, ``registers`` or ``device``. By default threadgroup
            memory where the tile fits, device memory where it does not.
        rescale: when O is multiplied by the growth of the maximum: ``always``, ``grown`` or past a
            ``threshold`` of 2^8.

    Raises:
        UnsupportedProblem: the tile does not exist, or needs more than 32768 bytes of threadgroup
            memory.

    Example:
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
        for field, found, known in (
            ("br", self.br, BLOCK_ROWS),
            ("bc", self.bc, BLOCK_KEYS),
            ("rows", self.rows, (8, 16)),
            ("keys", self.keys, KEY_PATHS),
            ("query", self.query, (None, *QUERY_PLACES)),
            ("rescale", self.rescale, RESCALES),
        ):
            if found not in known:
                raise UnsupportedProblem(
                    f"[flash.tile] found {field}={found!r}, needs {_either(known)}; "
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
                "pass keys='staged16'"
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
        return 4 if self.dtype == "float32" else 2

    @property
    def staged_keys(self) -> int:
        """Keys held in threadgroup memory at once, 0 when K and V are read in place."""
        return int(self.keys.removeprefix("staged")) if self.keys.startswith("staged") else 0

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
        """Bytes of threadgroup memory that the kernel declares; never less than one vector of 4."""
        queries = self.query_tile_bytes if self.query == "threadgroup" else 0
        return max(queries + self.staged_bytes, 4 * self.element_bytes)

    @property
    def threads(self) -> int:
        """Threads of a threadgroup."""
        return self.br // self.rows * 32

    @property
    def template_arguments(self) -> tuple[TemplateArgument, ...]:
        """The kernel's template arguments, in order."""
        msl_type = MSL_TYPES[self.dtype]
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
        UnsupportedProblem: unless D is a multiple of 8 from 8 to 256.
    """
    if d > LARGEST_D:
        raise UnsupportedProblem(
            f"[flash.launch] found D={d}, needs at most {LARGEST_D}; split the head"
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
    published M4 figures favour (metal-flash-attention: 128 for FP16 at small D, 64 otherwise).

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
    bc = 128 if name != "float32" and d <= 64 else 64
    tile = FlashTile(br, bc, d, name)
    # Half of the threadgroup memory, so that two threadgroups can share a core.
    while tile.br > 8 and tile.threadgroup_bytes > THREADGROUP_LIMIT_BYTES // 2:
        tile = replace(tile, br=tile.br // 2)
    return tile


@dataclass(frozen=True)
class FlashProblem:
    """One attention, checked: its dimensions and what is done to the scores.

    Args:
        b, hq, hkv, nq, nkv, d: dimensions.
        dtype: element type, by name.
        scale: factor of the scores.
        causal: query i sees keys j <= i + (Nkv - Nq).
    """

    b: int
    hq: int
    hkv: int
    nq: int
    nkv: int
    d: int
    dtype: str
    scale: float
    causal: bool = False


def problem_of(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, *, causal: bool = False, scale: float | None = None
) -> FlashProblem:
    """Check tensors against what the kernel computes and return their dimensions.

    Args:
        q: [B, Hq, Nq, D], float16, float32 or bfloat16.
        k: [B, Hkv, Nkv, D], the type of q; Hkv divides Hq.
        v: the shape and type of k.
        causal: whether query i sees only keys j <= i + (Nkv - Nq).
        scale: factor of the scores; D**-0.5 when None.

    Returns:
        The problem.

    Raises:
        UnsupportedProblem: a rank, dimension, type or the scale is none the kernel computes.
    """
    for label, tensor in (("q", q), ("k", k), ("v", v)):
        if not isinstance(tensor, np.ndarray) or tensor.ndim != 4:
            shape = getattr(tensor, "shape", type(tensor).__name__)
            raise UnsupportedProblem(
                f"[flash.launch] found {label} of shape {shape}, needs a numpy array of rank 4; "
                "pass [batch, heads, tokens, D]"
            )
    if not q.dtype == k.dtype == v.dtype:
        raise UnsupportedProblem(
            f"[flash.launch] found dtypes {q.dtype.name}, {k.dtype.name}, {v.dtype.name}, needs "
            "one for q, k and v; convert two of them"
        )
    name = dtype_name(q.dtype)
    if k.shape != v.shape:
        raise UnsupportedProblem(
            f"[flash.launch] found k {k.shape} and v {v.shape}, needs equal shapes; "
            "pass [B, Hkv, Nkv, D] for both"
        )
    b, hq, nq, d = q.shape
    _, hkv, nkv, _ = k.shape
    if (k.shape[0], k.shape[3]) != (b, d):
        raise UnsupportedProblem(
            f"[flash.launch] found q {q.shape} and k {k.shape}, needs one B and one D; "
            f"pass k of shape ({b}, {hkv}, {nkv}, {d})"
        )
    if 0 in q.shape or 0 in k.shape:
        raise UnsupportedProblem(
            f"[flash.launch] found q {q.shape} and k {k.shape}, needs no empty dimension; "
            "pass at least one token"
        )
    if hq % hkv:
        raise UnsupportedProblem(
            f"[flash.launch] found Hq={hq} and Hkv={hkv}, needs Hq a multiple of Hkv; "
            f"pass Hq={(hq // hkv + 1) * hkv}"
        )
    check_head_dimension(d)
    return FlashProblem(b, hq, hkv, nq, nkv, d, name, checked_scale(scale, d), bool(causal))


def checked_scale(scale: float | None, d: int) -> float:
    """Return the factor of the scores, D**-0.5 by default.

    Raises:
        UnsupportedProblem: it is not a number from 1e-20 to 1e20.
    """
    if scale is None:
        return d**-0.5
    try:
        value = float(scale)
    except (TypeError, ValueError):
        value = math.nan
    if not SMALLEST_SCALE <= value <= LARGEST_SCALE:
        raise UnsupportedProblem(
            f"[flash.launch] found scale={scale!r}, needs a number from {SMALLEST_SCALE:g} to "
            f"{LARGEST_SCALE:g}; pass scale=None for D**-0.5"
        )
    return value


@dataclass(frozen=True)
class FlashPlan:
    """Everything of a dispatch but its buffers.

    Args:
        source: kernel text.
        constants: function constants by name.
        threadgroups: grid, in threadgroups.
        threads: threads of a threadgroup.
        params: bytes of buffer 4.
    """

    source: KernelSource
    constants: dict[str, bool]
    threadgroups: tuple[int, int, int]
    threads: tuple[int, int, int]
    params: bytes


def plan(problem: FlashProblem, tile: FlashTile) -> FlashPlan:
    """Lay a problem out on a tile.

    Args:
        problem: what to compute.
        tile: how.

    Returns:
        The dispatch; its buffers are 0 q, 1 k, 2 v, 3 output, 4 ``params``.

    Raises:
        UnsupportedProblem: the tile was made for another D or type.
    """
    if (tile.d, tile.dtype) != (problem.d, problem.dtype):
        raise UnsupportedProblem(
            f"[flash.launch] found a tile for D={tile.d} {tile.dtype}, needs D={problem.d} "
            f"{problem.dtype}; pass tile=None"
        )
    return FlashPlan(
        source=tile.source,
        constants={
            "causal": problem.causal,
            "aligned_queries": problem.nq % tile.br == 0,
            "aligned_keys": problem.nkv % tile.bc == 0,
            "sliding_window": False,
            "softcap": False,
            "alibi": False,
        },
        threadgroups=(-(-problem.nq // tile.br), problem.hq, problem.b),
        threads=(tile.threads, 1, 1),
        params=_PARAMS.pack(
            problem.hq,
            problem.hq // problem.hkv,
            problem.nq,
            problem.nkv,
            problem.scale * math.log2(math.e),
            1.0 / problem.scale,
            0.0,
            0,
        ),
    )


_pipelines: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def pipeline(device: Any, source: KernelSource, constants: dict[str, bool]) -> Any:
    """Return the pipeline of a kernel, compiled once a device.

    Args:
        device: an open device.
        source: kernel text.
        constants: function constants by name.

    Returns:
        The device's pipeline.

    Raises:
        KernelCompileError: the device refuses the text or a constant.
    """
    made = _pipelines.setdefault(device, {})
    key = (source.name, source.digest, tuple(sorted(constants.items())))
    if key not in made:
        made[key] = device.library(source.text).pipeline(source.name, constants=constants)
    return made[key]


def launch(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    output: np.ndarray,
    *,
    device: Any,
    causal: bool = False,
    scale: float | None = None,
    tile: FlashTile | None = None,
) -> Any:
    """Compute attention into memory of the caller and return the dispatch's timing.

    Args:
        q: [B, Hq, Nq, D].
        k: [B, Hkv, Nkv, D].
        v: [B, Hkv, Nkv, D].
        output: contiguous, writable, the type of q, at least B Hq Nq D elements; the first ones
            receive [B, Hq, Nq, D], any others are left alone.
        device: an open device.
        causal: whether query i sees only keys j <= i + (Nkv - Nq).
        scale: factor of the scores; D**-0.5 when None.
        tile: geometry; ``default_tile`` when None.

    Returns:
        The device's Timing, whose ``gpu_us`` is the dispatch in microseconds.

    Raises:
        UnsupportedProblem: as ``problem_of`` and ``plan``, or the output does not fit.
    """
    problem = problem_of(q, k, v, causal=causal, scale=scale)
    tile = default_tile(problem.nq, problem.d, problem.dtype) if tile is None else tile
    if not isinstance(tile, FlashTile):
        raise UnsupportedProblem(
            f"[flash.launch] found tile={tile!r}, needs a FlashTile; pass tile=None"
        )
    todo = plan(problem, tile)
    writable = output.flags.writeable and output.flags.c_contiguous
    if output.dtype != q.dtype or output.size < q.size or not writable:
        raise UnsupportedProblem(
            f"[flash.launch] found output {output.dtype.name} of {output.size} elements, needs "
            f"{q.dtype.name}, {q.size} or more, contiguous and writable; pass numpy.empty(q.shape, "
            "q.dtype)"
        )
    return device.run(
        pipeline(device, todo.source, todo.constants),
        threadgroups=todo.threadgroups,
        threads=todo.threads,
        buffers={0: as_input(q), 1: as_input(k), 2: as_input(v), 3: output, 4: todo.params},
    )


def as_input(tensor: np.ndarray) -> np.ndarray:
    """Return a read-only tensor the kernels can read: contiguous, and aligned for vector loads."""
    fit = np.require(tensor, requirements="C")
    if fit.ctypes.data % 16:
        fit = fit.copy()
    fit = fit.view()
    fit.flags.writeable = False
    return fit


def flash_attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    causal: bool = False,
    scale: float | None = None,
    tile: FlashTile | None = None,
    device: Any = None,
) -> np.ndarray:
    """Compute softmax(scale Q K^T + mask) V without storing the scores.

    Scores, softmax and the output sums are FP32. A row that sees no key is 0. NaN and infinity in
    the tensors propagate; they never fault.

    Args:
        q: queries, [B, Hq, Nq, D], float16, float32 or ml_dtypes.bfloat16; D a multiple of 8 up to
            256. A tensor that is not contiguous is copied.
        k: keys, [B, Hkv, Nkv, D], the type of q; Hkv divides Hq, and query head h reads KV head
            h // (Hq / Hkv).
        v: values, the shape and type of k.
        causal: whether query i sees only keys j <= i + (Nkv - Nq).
        scale: factor of the scores; D**-0.5 when None.
        tile: geometry of the kernel; ``default_tile`` when None.
        device: an open device, or the name of one (``auto``, ``cpu``, ``metal``, ``cuda``);
            ``auto`` when None.

    Returns:
        [B, Hq, Nq, D], the type of q.

    Raises:
        UnsupportedProblem: a shape, type, scale or tile that the kernel does not compute.
        DeviceUnavailable: the device is not on this machine.

    Source:
        Dao et al., "FlashAttention", NeurIPS 2022, algorithm 1; Dao, "FlashAttention-2", ICLR 2024,
        section 3.

    Example:
        >>> q = np.ones((1, 8, 128, 64), np.float16)
        >>> k = v = np.ones((1, 2, 128, 64), np.float16)
        >>> flash_attention(q, k, v, causal=True).shape
        (1, 8, 128, 64)
    """
    problem_of(q, k, v, causal=causal, scale=scale)
    output = np.empty(q.shape, q.dtype)
    launch(q, k, v, output, device=opened(device), causal=causal, scale=scale, tile=tile)
    return output


def opened(device: Any) -> Any:
    """Return ``device`` itself, or the open device of that name; ``auto`` for None.

    Raises:
        DeviceUnavailable: the device is not on this machine.
    """
    if device is not None and not isinstance(device, str):
        return device
    name = device or "auto"
    if name not in _open_devices:
        from attnproto import open_device

        _open_devices[name] = open_device(name)
    return _open_devices[name]


_open_devices: dict[str, Any] = {}

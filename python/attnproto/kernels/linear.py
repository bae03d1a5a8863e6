"""Linear attention in chunks: checks, and the launch of ``metal/linear``.

Letters: ``B`` batch, ``H`` heads, ``N`` tokens, ``D`` dimensions of a head, keys and values alike.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnproto.device.device import Dispatch
from attnproto.device.discovery import opened
from attnproto.device.pipelines import KernelSource, pipeline
from attnproto.dtypes import BY_NUMPY, name_of
from attnproto.errors import UnsupportedProblem

from . import flash
from .flash_tile import dtype_name
from .launching import as_arrays, as_input, submit_in_turn
from .text import TemplateArgument, instantiate

if TYPE_CHECKING:
    from attnproto.device.device import Device, Timing

HEAD_DIMENSIONS = (32, 64, 96, 128)
CHUNKS = (32, 64, 128, 256)
LARGEST_GROWTH = 88.0  # of a state within a chunk, as a natural logarithm: float32 ends at 88.7
# States of one dispatch: longer sequences go through in several, each carrying on from the last.
STATES_BYTES = 256 * 2**20
# chunk_h goes through 8 tokens after 8; at 3 us each this many take 0.4 s.
SERIAL_TOKENS = 2**20
_PARAMS = struct.Struct("<5if")
PARAMS_BYTES = _PARAMS.size


@dataclass(frozen=True)
class LinearProblem:
    """One linear attention, checked.

    Args:
        b, h, n, d: dimensions.
        dtype: element type of q, k, v and the output, by name.
        chunk: tokens of a chunk.
        gates: what decays: ``none``, one factor a ``token``, or one a token and ``key`` dimension.
        normalize: whether outputs are divided by the sum of their weights.
    """

    b: int
    h: int
    n: int
    d: int
    dtype: str
    chunk: int
    gates: str
    normalize: bool

    @property
    def constants(self) -> dict[str, bool]:
        """Function constants, by name."""
        return {
            "token_gates": self.gates == "token",
            "key_gates": self.gates == "key",
            "normalized": self.normalize,
        }

    @property
    def chunks_a_dispatch(self) -> int:
        """Chunks whose states fit in 256 MiB and whose work fits in one dispatch, at least one."""
        states = STATES_BYTES // (4 * self.b * self.h * self.d * self.d)
        work = int(flash.DISPATCH_FLOPS // self.chunk_flops)
        return max(1, min(states, work, SERIAL_TOKENS // self.chunk))

    @property
    def chunk_flops(self) -> float:
        """FLOP of ``chunk_o``, the larger of the two, for one chunk of every head."""
        token = 2.0 * self.d**2 + 2.0 * self.d * (self.chunk + 8)
        return self.b * self.h * self.chunk * token

    def source(self, function: str) -> KernelSource:
        """Return the text of ``chunk_h``, ``chunk_o`` or ``chunk_gates``."""
        size = TemplateArgument(str(self.d), f"d{self.d}")
        if function == "chunk_gates":
            one = TemplateArgument("1", "token")
            return instantiate(
                "linear/linear.metal", function, (size if self.gates == "key" else one,)
            )
        msl_type = BY_NUMPY[self.dtype].msl
        return instantiate(
            "linear/linear.metal", function, (TemplateArgument(msl_type, msl_type), size)
        )


def linear_problem_of(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    chunk: int = 64,
    decay: np.ndarray | None = None,
    normalize: bool = False,
) -> LinearProblem:
    """Check tensors against what the kernels compute and return their dimensions.

    Args:
        q: [B, H, N, D], float16, float32 or bfloat16.
        k: the shape and type of q.
        v: the shape and type of q.
        chunk: tokens of a chunk: 32, 64, 128 or 256; need not divide N.
        decay: natural logarithms of the factors, as ``linear_attention``.
        normalize: whether outputs are divided by the sum of their weights.

    Returns:
        The problem.

    Raises:
        UnsupportedProblem: a rank, dimension, type, chunk or decay the kernels do not compute, or
            more heads than one dispatch can take a chunk of.
    """
    for label, tensor in (("q", q), ("k", k), ("v", v)):
        if not isinstance(tensor, np.ndarray) or tensor.ndim != 4 or 0 in tensor.shape:
            shape = getattr(tensor, "shape", type(tensor).__name__)
            raise UnsupportedProblem(
                f"[linear.launch] found {label} of shape {shape}, needs a numpy array of rank 4 "
                "with no empty dimension; pass [batch, heads, tokens, D]"
            )
    if not (q.shape == k.shape == v.shape and q.dtype == k.dtype == v.dtype):
        raise UnsupportedProblem(
            f"[linear.launch] found q {name_of(q.dtype)} {q.shape}, k {name_of(k.dtype)} "
            f"{k.shape}, v {name_of(v.dtype)} {v.shape}, needs one shape and type; reshape or "
            "convert"
        )
    name = dtype_name(q.dtype)
    b, h, n, d = q.shape
    flash.check_tokens(n)
    if d not in HEAD_DIMENSIONS:
        raise UnsupportedProblem(
            f"[linear.launch] found D={d}, needs one of {HEAD_DIMENSIONS}; pass D="
            f"{min(HEAD_DIMENSIONS, key=lambda known: abs(known - d))}"
        )
    if not isinstance(chunk, (int, np.integer)) or chunk not in CHUNKS:
        raise UnsupportedProblem(
            f"[linear.launch] found chunk={chunk!r}, needs one of {CHUNKS}; pass chunk=64"
        )
    gates = "none"
    if decay is not None:
        forms = {(h,): "token", (b, h, n): "token", (b, h, n, d): "key"}
        shape = getattr(decay, "shape", type(decay).__name__)
        if shape not in forms:
            raise UnsupportedProblem(
                f"[linear.launch] found decay of shape {shape}, needs ({h},), {(b, h, n)} or "
                f"{(b, h, n, d)}; reshape it"
            )
        gates = forms[shape]
        if decay.dtype.kind not in "fiu" or not np.isfinite(_as_float32(decay)).all():
            raise UnsupportedProblem(
                f"[linear.launch] found decay of {name_of(decay.dtype)} with values that are not "
                "finite float32 numbers, needs logarithms; pass -1e4 to forget all"
            )
        growth = _largest_growth(decay, n, int(chunk))
        if growth > LARGEST_GROWTH:
            raise UnsupportedProblem(
                f"[linear.launch] found decay that lets the state grow by exp({growth:.3g}) within "
                f"a chunk of {chunk}, needs at most exp({LARGEST_GROWTH:g}), the most that float32 "
                "holds; a decay is the logarithm of a factor and mostly negative"
            )
    problem = LinearProblem(b, h, n, d, name, int(chunk), gates, bool(normalize))
    if problem.chunk_flops > flash.DISPATCH_FLOPS:
        most = int(b * h * flash.DISPATCH_FLOPS / problem.chunk_flops)
        raise UnsupportedProblem(
            f"[linear.launch] found {b * h} heads in all, too many for one dispatch with "
            f"chunk={chunk}, needs at most {most}; pass a smaller chunk or fewer heads"
        )
    return problem


def launch_linear(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    output: np.ndarray,
    state: np.ndarray,
    *,
    device: Device,
    chunk: int = 64,
    decay: np.ndarray | None = None,
    normalize: bool = False,
) -> Timing:
    """Compute linear attention into memory of the caller and return the timing.

    Work that would hold the GPU for too long goes out in several submissions, one after another.

    Args:
        q: [B, H, N, D].
        k: the shape and type of q.
        v: the shape and type of q.
        output: contiguous, writable, the type of q, at least B H N D elements; any beyond those
            are left alone.
        state: [B, H, D, D] float32, contiguous and writable: the state before the first token,
            which becomes the one after the last.
        device: an open device.
        chunk: tokens of a chunk.
        decay: natural logarithms of the factors, as ``linear_attention``.
        normalize: whether outputs are divided by the sum of their weights.

    Returns:
        The Timing of all dispatches together.

    Raises:
        UnsupportedProblem: as ``linear_problem_of``, or the output or state does not fit.
    """
    problem = linear_problem_of(q, k, v, chunk=chunk, decay=decay, normalize=normalize)
    b, h, n, d = q.shape
    for label, array, dtype, size, exact in (
        ("output", output, q.dtype, q.size, False),
        ("state", state, np.dtype(np.float32), b * h * d * d, True),
    ):
        fits = array.flags.c_contiguous and array.flags.writeable and array.dtype == dtype
        if not fits or array.size < size or (exact and array.size != size):
            raise UnsupportedProblem(
                f"[linear.launch] found {label} {name_of(array.dtype)} of {array.size} elements, "
                f"needs {name_of(dtype)}, {size}, contiguous and writable; pass such an array"
            )
    at_once = min(problem.chunks_a_dispatch, -(-n // problem.chunk))
    carried = device.buffer(np.ascontiguousarray(state))
    residue = device.buffer(carried.nbytes)
    total = device.buffer(b * h * d * 4)
    states, totals = (
        device.buffer(at_once * b * h * d * d * 4),
        device.buffer(at_once * b * h * d * 4),
    )
    sums, todo = _gate_sums(problem, decay, device)
    state_flops = 2.0 * b * h * d**2  # of chunk_h, a token
    gates = {"none": {}, "token": {0: sums}, "key": {1: sums}}[problem.gates]
    inputs = [as_input(x) for x in (q, k, v)]
    make = pipeline(device, problem.source("chunk_h"), problem.constants)
    use = pipeline(device, problem.source("chunk_o"), problem.constants)
    for first in range(0, n, at_once * problem.chunk):
        count = min(at_once * problem.chunk, n - first)
        params = _PARAMS.pack(h, n, problem.chunk, first, count, d**-0.5)
        common = {8: params}
        update = Dispatch(
            make,
            threadgroups=(d // 32, h, b),
            threads=(d, 1, 1),
            buffers=dict(enumerate(inputs[1:]))
            | {2 + i: x for i, x in gates.items()}
            | {4: carried, 5: total, 6: states, 7: totals, 9: residue}
            | common,
        )
        read = Dispatch(
            use,
            threadgroups=(-(-count // 32), h, b),
            threads=(128, 1, 1),
            buffers=dict(enumerate(inputs))
            | {3 + i: x for i, x in gates.items()}
            | {5: states, 6: totals, 7: output}
            | common,
        )
        todo.append((update, count * state_flops))
        todo.append((read, count / problem.chunk * problem.chunk_flops))
    timing = submit_in_turn(device, todo, flash.DISPATCH_FLOPS)
    state[...] = carried.numpy(np.float32, state.shape)
    return timing


def _largest_growth(decay: np.ndarray, n: int, chunk: int) -> float:
    """The largest sum of neighbouring logarithms within a chunk, and at least 0."""
    if decay.max() <= 0:
        return 0.0
    if decay.ndim == 1:
        return float(decay.max()) * min(n, chunk)
    largest = 0.0
    for first in range(0, n, chunk):
        sums = np.cumsum(decay[:, :, first : first + chunk], axis=2, dtype=np.float64)
        lowest = np.minimum.accumulate(np.insert(sums[:, :, :-1], 0, 0.0, axis=2), axis=2)
        largest = max(largest, float((sums - np.minimum(lowest, 0.0)).max()))
    return largest


def _as_float32(decay: np.ndarray) -> np.ndarray:
    # What exceeds a float32 becomes infinite, and is then refused.
    with np.errstate(over="ignore"):
        return decay.astype(np.float32)


def _as_state(given: np.ndarray) -> np.ndarray:
    """A copy of an initial state in float32."""
    if given.dtype.kind in "fiuV":
        with np.errstate(over="ignore"):
            state = np.array(given, np.float32, order="C")
        if not (np.isinf(state) & np.isfinite(given)).any():
            return state
    raise UnsupportedProblem(
        f"[linear.launch] found initial_state of {name_of(given.dtype)} that float32 does not "
        "hold, needs real numbers up to 3.4e38; convert or scale it"
    )


def _gate_sums(problem: LinearProblem, decay: np.ndarray | None, device: Device):
    """Return the buffer of cumulative decay and the dispatch that fills it."""
    if decay is None:
        return None, []
    if decay.ndim == 1:
        decay = np.broadcast_to(decay[None, :, None], (problem.b, problem.h, problem.n))
    width = problem.d if problem.gates == "key" else 1
    sums = device.buffer(decay.size * 8)
    threads = -(-problem.n // problem.chunk) * width
    dispatch = Dispatch(
        pipeline(device, problem.source("chunk_gates")),
        threadgroups=(-(-threads // 64), problem.h, problem.b),
        threads=(64, 1, 1),
        buffers={
            0: as_input(_as_float32(decay)),
            1: sums,
            2: _PARAMS.pack(problem.h, problem.n, problem.chunk, 0, problem.n, 1.0),
        },
    )
    return sums, [(dispatch, float(decay.size))]


def linear_attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    chunk: int = 64,
    decay: np.ndarray | None = None,
    normalize: bool = False,
    initial_state: np.ndarray | None = None,
    return_state: bool = False,
    device: Device | str | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Compute S_t = diag(exp(decay_t)) S_{t-1} + k_t^T v_t and o_t = D**-0.5 q_t S_t.

    NaN and infinity in a token reach the outputs from that token on and none before.

    Args:
        q: [B, H, N, D], float16, float32 or ml_dtypes.bfloat16; D 32, 64, 96 or 128. A tensor that
            is not contiguous is copied.
        k: the shape and type of q.
        v: the shape and type of q.
        chunk: tokens of a chunk: 32, 64, 128 or 256; need not divide N.
        decay: natural logarithm of the factor: [H], [B, H, N], or [B, H, N, D] for one a key
            dimension; none when None. Finite as float32; -1e4 forgets all, exactly, and what
            follows it is as precise as without it.
        normalize: divide each output by the sum of its weights, q_t . z_t with
            z_t = exp(decay_t) z_{t-1} + k_t from z = 0.
        initial_state: [B, H, D, D], key by value dimensions; zeros when None.
        return_state: also return the state after the last token.
        device: an open device or the name of one; ``auto`` when None.

    Returns:
        [B, H, N, D], the type of q; with ``return_state`` also [B, H, D, D] float32.

    Raises:
        UnsupportedProblem: a shape, type, chunk, decay or state that the kernels do not compute.
        DeviceUnavailable: the device is not on this machine.

    Source:
        Katharopoulos et al., "Transformers are RNNs", ICML 2020, section 3.3; Yang et al., "Gated
        Linear Attention", ICML 2024, section 4.

    Examples:
        >>> q = k = v = np.ones((1, 2, 100, 64), np.float32)
        >>> linear_attention(q, k, v).shape
        (1, 2, 100, 64)
    """
    q, k, v = as_arrays(q=q, k=k, v=v)
    decay, initial_state = as_arrays(decay=decay, initial_state=initial_state)
    problem = linear_problem_of(q, k, v, chunk=chunk, decay=decay, normalize=normalize)
    shape = (problem.b, problem.h, problem.d, problem.d)
    if initial_state is None:
        state = np.zeros(shape, np.float32)
    elif getattr(initial_state, "shape", None) == shape:
        state = _as_state(initial_state)
    else:
        given = getattr(initial_state, "shape", type(initial_state).__name__)
        raise UnsupportedProblem(
            f"[linear.launch] found initial_state of shape {given}, needs {shape}; pass None for "
            "zeros"
        )
    output = np.empty(q.shape, q.dtype)
    launch_linear(
        q,
        k,
        v,
        output,
        state,
        device=opened(device),
        chunk=chunk,
        decay=decay,
        normalize=normalize,
    )
    return (output, state) if return_state else output

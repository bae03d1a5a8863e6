"""MLX's kernels twice: as text, which our front end compiles, and as Apple's compiler compiled it.

Each case runs one kernel at odd sizes from both, and tells what FP64 says. Where the bits differ,
``explained`` says why they may.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
from attnproto import Device, Dispatch
from attnproto.compiler.air.container import Metallib
from attnproto.device.metallib import CompiledLibrary
from attnproto.kernels.flash_variant import Variant

from . import mlx
from .attention import attention_fp64

TYPES = {"float": np.float32, "half": np.float16, "bfloat": ml_dtypes.bfloat16}
_NAMES = {"float": "float32", "half": "float16", "bfloat": "bfloat16"}
_SHORT = {"float": "float", "half": "float16_t", "bfloat": "bfloat16_t"}
_BITS = (2, 3, 4, 6, 8)
# metal::precise has functions of float alone, so that exp of a half is a float there.
_WIDER = "`precise::exp` of a half is a float to Apple's front end, a half to ours"


@dataclass(frozen=True)
class Launch:
    """A kernel's launch: how large, what is bound, which buffers it writes, what FP64 says.

    ``scale`` is the size of the numbers that are summed, by which an error is judged.
    """

    threadgroups: tuple[int, int, int]
    threads: tuple[int, int, int]
    buffers: Mapping[int, object]
    outputs: tuple[int, ...]
    wanted: Callable[[Sequence[np.ndarray]], tuple[np.ndarray, np.ndarray]]
    scale: float = 1.0


@dataclass(frozen=True)
class Case:
    """A kernel that exists twice.

    Attributes:
        family: of kernels, whose text is compiled once.
        compiled: its name in the metallib.
        headers: of the text.
        call: the template with its arguments, in the text.
        launch: makes inputs and says how it is run.
        constants: function constants.
        explained: why bits may differ; empty: they may not.
    """

    family: str
    compiled: str
    headers: tuple[str, ...]
    call: str
    launch: Callable[[], Launch]
    constants: Mapping[int | str, bool | int] = field(default_factory=dict)
    explained: str = ""

    @property
    def type_name(self) -> str:
        """MSL's name of the elements' type."""
        return next(name for name in reversed(TYPES) if _NAMES[name] in f"{self.compiled}float32")


def _normal(shape: Sequence[int] | int, name: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(TYPES[name])


def _unset(shape: Sequence[int] | int, dtype: type) -> np.ndarray:
    return np.full(shape, 77, dtype)


def _wanted(values: np.ndarray, out: np.ndarray) -> Launch:
    return lambda outputs: (outputs[0].astype(np.float64), values.reshape(out.shape))


def _rows() -> Iterator[Case]:
    """Softmax and logsumexp of rows."""
    for name, looped in itertools.product(TYPES, (False, True)):
        columns = 5001 if looped else 1000

        # The looped ones read a number of each of 32 simdgroups.
        threads = 1024 if looped else 256

        def launch(
            what: str, name: str = name, columns: int = columns, threads: int = threads
        ) -> Launch:
            x = _normal((3, columns), name, 4)
            powers = np.exp(x.astype(np.float64))
            softmax = powers / powers.sum(-1, keepdims=True)
            values = softmax if what == "softmax" else np.log(powers.sum(-1))
            out = _unset(values.shape, TYPES[name])
            buffers = {0: x, 1: out, 2: np.int32(columns)}
            return Launch((3, 1, 1), (threads, 1, 1), buffers, (1,), _wanted(values, out))

        how = "looped" if looped else "block"
        of = "softmax_looped" if looped else "softmax_single_row"
        for precise in (False, True) if name != "float" else (False,):
            yield Case(
                "softmax", f"{how}_softmax_{'precise_' * precise}{_NAMES[name]}",
                ("utils.h", "softmax.h"), f"{of}<{name}{', float' * precise}>",
                functools.partial(launch, "softmax"),
            )  # fmt: skip
        yield Case(
            "logsumexp", f"{how}_logsumexp_{_NAMES[name]}", ("utils.h", "logsumexp.h"),
            f"logsumexp{'_looped' * looped}<{name}>", functools.partial(launch, "logsumexp"),
        )  # fmt: skip


def _attention() -> Iterator[Case]:
    nq, nkv = 100, 131
    for name, d, causal in itertools.product(TYPES, (64, 80, 96, 128), (False, True)):
        kernel = mlx.SteelAttention(name, d)

        def launch(name: str = name, d: int = d, causal: bool = causal, kernel=kernel) -> Launch:
            q = _normal((1, 2, nq, d), name, 1)
            k, v = (_normal((1, 1, nkv, d), name, seed) for seed in (2, 3))
            out = _unset(q.shape, TYPES[name])
            tensors = (q, k, v, out)
            values = attention_fp64(q, k, v, Variant(causal=causal))
            buffers = {**dict(enumerate(tensors)), 4: kernel.parameters(tensors)}
            grid = (-(-nq // 32), 2, 1)
            return Launch(grid, (32, 4, 1), buffers, (3,), _wanted(values, out))

        yield Case(
            f"steel_attention D{d}",
            f"steel_attention_{_NAMES[name]}_bq32_bk{kernel.bk}_bd{d}_bv{d}_wm4_wn1_mask{_NAMES[name]}",
            mlx.STEEL_HEADERS, kernel.call, launch, kernel.constants(nq, nkv, causal),
        )  # fmt: skip


def _vector_attention() -> Iterator[Case]:
    heads, kv_heads, rows, keys, blocks = 4, 2, 3, 101, 32
    for name, d in itertools.product(TYPES, (64, 96, 128, 256)):

        def tensors(name: str = name, d: int = d) -> tuple[np.ndarray, ...]:
            q = _normal((1, heads, rows, d), name, 1)
            return q, *(_normal((1, kv_heads, keys, d), name, seed) for seed in (2, 3))

        def launch(tensors=tensors, name: str = name, d: int = d) -> Launch:
            q, k, v = tensors()
            out, stride = _unset(q.shape, TYPES[name]), np.uint64(keys * d)
            buffers = {
                0: q, 1: k, 2: v, 3: out, 4: np.int32(heads // kv_heads), 5: np.int32(keys),
                6: stride, 7: np.uint64(d), 8: stride, 9: np.uint64(d), 10: np.float32(d**-0.5),
            }  # fmt: skip
            values = attention_fp64(q, k, v, Variant(causal=True))
            return Launch((heads, rows, 1), (1024, 1, 1), buffers, (3,), _wanted(values, out))

        def first_pass(tensors=tensors, name: str = name, d: int = d) -> Launch:
            q, k, v = tensors()
            out = _unset((heads, rows, blocks, d), TYPES[name])
            sums, maxs = (_unset((heads, rows, blocks, 1), np.float32) for _ in range(2))
            stride = np.uint64(keys * d)
            buffers = {
                0: q, 1: k, 2: v, 3: out, 4: sums, 5: maxs, 7: np.int32(keys),
                8: stride, 9: np.uint64(d), 10: stride, 11: np.uint64(d), 12: np.float32(d**-0.5),
            }  # fmt: skip
            values = attention_fp64(q, k, v, Variant(causal=True))

            def joined(outputs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
                part, total, most = (o.astype(np.float64) for o in outputs)
                weight = np.exp(most - most.max(2, keepdims=True))
                mean = (part * weight).sum(2) / (total * weight).sum(2)
                return mean, values.reshape(mean.shape)

            threads = (32, heads // kv_heads, rows)
            return Launch((kv_heads, 1, blocks), threads, buffers, (3, 4, 5), joined)

        constants = {20: False, 21: False, 22: True, 23: False, 24: False, 25: False}
        headers = ("utils.h", "sdpa_vector.h")
        yield Case(
            "sdpa_vector", f"sdpa_vector_{_SHORT[name]}_{d}_{d}", headers,
            f"sdpa_vector<{name}, {d}, {d}>", launch, constants,
        )  # fmt: skip
        yield Case(
            "sdpa_vector_2pass", f"sdpa_vector_2pass_1_{_SHORT[name]}_{d}_{d}", headers,
            f"sdpa_vector_2pass_1<{name}, {d}, {d}>", first_pass, constants | {26: blocks},
        )  # fmt: skip


def _products() -> Iterator[Case]:
    rows, columns = 77, 517
    for name, (bm, bn) in itertools.product(TYPES, ((1, 8), (4, 1), (8, 1))):

        def launch(name: str = name, bm: int = bm, bn: int = bn) -> Launch:
            matrix, vector = _normal((rows, columns), name, 6), _normal((columns,), name, 7)
            out = _unset(rows, TYPES[name])
            zero = np.zeros(1, np.int64)
            buffers = {
                0: matrix, 1: vector, 2: np.zeros(1, TYPES[name]), 3: out, 4: np.int32(columns),
                5: np.int32(rows), 6: np.int32(columns), 7: np.float32(1), 8: np.float32(0),
                9: np.int32(1), 10: np.ones(1, np.int32), 11: zero, 12: zero, 13: zero,
                14: np.int32(1),
            }  # fmt: skip
            values = matrix.astype(np.float64) @ vector.astype(np.float64)
            grid = (-(-rows // (bm * 4)), 1, 1)
            return Launch(grid, (32, bn, bm), buffers, (3,), _wanted(values, out), 23)

        yield Case(
            "gemv", f"gemv_{_NAMES[name]}_bm{bm}_bn{bn}_sm1_sn32_tm4_tn4_nc0_axpby0",
            ("gemv.h",), f"gemv<{name}, {bm}, {bn}, 1, 32, 4, 4, false, false>", launch,
        )  # fmt: skip
    m, n, k = 70, 90, 100
    for name, layout in itertools.product(TYPES, ("nn", "nt", "tn", "tt")):

        def product(name: str = name, layout: str = layout) -> Launch:
            a, b = _normal((m, k), name, 8), _normal((k, n), name, 9)
            out = _unset((m, n), TYPES[name])
            values = a.astype(np.float64) @ b.astype(np.float64)
            a, b = (x.T.copy() if t == "t" else x for x, t in zip((a, b), layout, strict=True))
            tiles = -(-n // 64), -(-m // 64)
            parameters = struct.pack(
                "8i3q3i4x", m, n, k, a.shape[1], b.shape[1], n, *tiles, 0, 0, 0, 0, k // 16, 1
            )
            buffers = {0: a, 1: b, 3: out, 4: parameters}
            return Launch((*tiles, 1), (32, 2, 2), buffers, (3,), _wanted(values, out), 10)

        truths = ", ".join("true" if t == "t" else "false" for t in layout)
        yield Case(
            "gemm",
            f"steel_gemm_fused_{layout}_{_NAMES[name]}_{_NAMES[name]}_bm64_bn64_bk16_wm2_wn2",
            ("utils.h", "steel/gemm/gemm.h", "steel/gemm/kernels/steel_gemm_fused.h"),
            f"gemm<{name}, 64, 64, 16, 2, 2, {truths}, float>", product,
            {10: False, 100: False, 110: False, 200: False, 201: False, 202: False},
        )  # fmt: skip


def _quantised(rows: int, columns: int, bits: int, name: str) -> tuple[np.ndarray, ...]:
    """A matrix of whole numbers in groups of 64: packed, scales, biases, and its values in FP64."""
    random = np.random.default_rng(bits)
    numbers = random.integers(0, 1 << bits, (rows, columns))
    stream = (numbers[..., None] >> np.arange(bits) & 1).astype(np.uint8)
    packed = np.packbits(stream.reshape(rows, -1), axis=1, bitorder="little").view(np.uint32)
    scales = (random.uniform(0.5, 1, (rows, columns // 64)) / (1 << bits)).astype(TYPES[name])
    biases = random.uniform(-0.5, 0, scales.shape).astype(TYPES[name])
    each = (np.repeat(x.astype(np.float64), 64, axis=1) for x in (scales, biases))
    scale, bias = each
    return packed, scales, biases, numbers * scale + bias


def _quantised_products() -> Iterator[Case]:
    headers = ("utils.h", "steel/gemm/gemm.h", "quantized_utils.h", "quantized.h")
    none = {n: bytes(8) for n in range(16)}  # of batches, which there are not
    for name, bits in itertools.product(TYPES, _BITS):

        def vector(name: str = name, bits: int = bits) -> Launch:
            k, n = 512, 24
            packed, scales, biases, matrix = _quantised(n, k, bits, name)
            x, out = _normal((1, k), name, 10), _unset((1, n), TYPES[name])
            values = x.astype(np.float64) @ matrix.T
            buffers = {
                **{i: none[i] for i in range(7, 15)}, 0: packed, 1: scales, 2: biases, 3: x,
                4: out, 5: np.int32(k), 6: np.int32(n),
            }  # fmt: skip
            return Launch((1, n // 8, 1), (32, 2, 1), buffers, (4,), _wanted(values, out), 23)

        def matrices(name: str = name, bits: int = bits) -> Launch:
            m, k, n = 35, 128, 75
            packed, scales, biases, matrix = _quantised(n, k, bits, name)
            x, out = _normal((m, k), name, 11), _unset((m, n), TYPES[name])
            values = x.astype(np.float64) @ matrix.T
            buffers = {
                **{i: none[i] for i in range(8, 16)}, 0: packed, 1: scales, 2: biases, 3: x,
                4: out, 5: np.int32(k), 6: np.int32(n), 7: np.int32(m),
            }  # fmt: skip
            grid = (-(-n // 32), -(-m // 32), 1)
            return Launch(grid, (32, 2, 2), buffers, (4,), _wanted(values, out), 12)

        yield Case(
            "qmv_fast", f"affine_qmv_fast_{_SHORT[name]}_gs_64_b_{bits}_batch_0_pr_0_hgs_0_r_4",
            headers, f"affine_qmv_fast<{name}, 64, {bits}, false, false, false, 4>", vector,
        )  # fmt: skip
        yield Case(
            "qmm_t", f"affine_qmm_t_{_SHORT[name]}_gs_64_b_{bits}_alN_false_batch_0", headers,
            f"affine_qmm_t<{name}, 64, {bits}, false, false>", matrices,
        )  # fmt: skip


_ONE_BY_ONE = {
    "Exp": np.exp, "Log": np.log, "Sin": np.sin, "Cos": np.cos, "Tanh": np.tanh,
    "Sqrt": np.sqrt, "Rsqrt": lambda x: 1 / np.sqrt(x), "Square": np.square,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)), "Log2": np.log2, "Floor": np.floor,
}  # fmt: skip


def _elementwise() -> Iterator[Case]:
    count = 203
    for (op, truth), name in itertools.product(_ONE_BY_ONE.items(), TYPES):

        def launch(truth=truth, name: str = name) -> Launch:
            x = np.linspace(0.01, 4, count).astype(TYPES[name])
            out = _unset(count, TYPES[name])
            buffers = {0: x, 1: out, 2: np.uint32(count)}
            values = truth(x.astype(np.float64))
            return Launch((1, 1, 1), (count, 1, 1), buffers, (1,), _wanted(values, out))

        kind = _SHORT[name]
        yield Case(
            "elementwise", f"v_{op}{_NAMES[name]}{_NAMES[name]}",
            ("utils.h", "unary_ops.h", "unary.h"), f"unary_v<{kind}, {kind}, {op}, 1>", launch,
            explained=_WIDER if (op, name) == ("Sigmoid", "half") else "",
        )  # fmt: skip


def _reductions() -> Iterator[Case]:
    headers = ("utils.h", "atomic.h", "reduction/ops.h", "reduce.h")
    functions = {"sum": ("Sum", np.sum), "min": ("Min", np.min), "max": ("Max", np.max)}
    for (op, (struct_name, truth)), name in itertools.product(functions.items(), TYPES):
        for every in (False, True):

            def launch(truth=truth, name: str = name, every: bool = every) -> Launch:
                rows, columns = (1, 3001) if every else (9, 515)
                x = _normal((rows, columns), name, 12)
                out = _unset(rows, TYPES[name])
                values = truth(x.astype(np.float64), axis=-1)
                second = np.uint64(columns) if every else np.int64(rows)
                buffers = {0: x, 1: out, 2: np.uint64(columns), 3: second}
                grid = (1, 1, 1) if every else (1, -(-rows // 4), 1)
                return Launch(grid, (128, 1, 1), buffers, (1,), _wanted(values, out), 55)

            kernel = "all_reduce" if every else "row_reduce_simple"
            yield Case(
                "reduce", f"{kernel}_{op}{_NAMES[name]}", headers,
                f"{kernel}<{name}, {name}, {struct_name}<{name}>>", launch,
            )  # fmt: skip


def _orders() -> Iterator[Case]:
    """Scans and sorts, which leave no rounding to chance or have none."""
    for name, reverse in itertools.product(TYPES, (False, True)):

        def scan(name: str = name, reverse: bool = reverse) -> Launch:
            x, out = _normal((3, 515), name, 13), _unset((3, 515), TYPES[name])
            wide = x.astype(np.float64)
            values = np.cumsum(wide[:, ::-1], -1)[:, ::-1] if reverse else np.cumsum(wide, -1)
            buffers = {0: x, 1: out, 2: np.uint64(515)}
            return Launch((1, 3, 1), (64, 1, 1), buffers, (1,), _wanted(values, out), 23)

        truth = "true" if reverse else "false"
        yield Case(
            "scan",
            f"contig_scan_{'reverse_' * reverse}inclusive_sum_{_NAMES[name]}_{_NAMES[name]}",
            ("utils.h", "scan.h"),
            f"contiguous_scan<{name}, {name}, CumSum<{name}>, 4, true, {truth}>", scan,
        )  # fmt: skip
    for name in TYPES:

        def sort(name: str = name) -> Launch:
            count = 411
            x, out = _normal((3, count), name, 14), _unset((3, count), TYPES[name])
            one, row = np.int32(1), np.int32(count)
            buffers = {0: x, 1: out, 2: row, 3: one, 4: one, 5: row, 6: row}
            values = np.sort(x.astype(np.float64), -1)
            return Launch((1, 3, 1), (128, 1, 1), buffers, (1,), _wanted(values, out))

        yield Case(
            "sort", f"c_block_sort_{_NAMES[name]}_{_NAMES[name]}_bn128_tn4", ("utils.h", "sort.h"),
            f"block_sort<{name}, {name}, false, 128, 4>", sort,
        )  # fmt: skip


def cases() -> list[Case]:
    """All that there are."""
    groups = (_attention, _vector_attention, _rows, _products, _quantised_products, _elementwise,
              _reductions, _orders)  # fmt: skip
    return [case for group in groups for case in group()]


def cases_in_short(count: int = 40) -> list[Case]:
    """Some, of each family in turn, in the order of their names' hashes."""
    families: dict[str, list[Case]] = {}
    for case in sorted(cases(), key=lambda c: hashlib.sha256(c.compiled.encode()).digest()):
        families.setdefault(case.family.split(" ")[0], []).append(case)
    turns = itertools.zip_longest(*(families[name] for name in sorted(families)))
    return [case for turn in turns for case in turn if case][:count]


@dataclass(frozen=True)
class Witness:
    """Both roads on one device.

    Args:
        device: where the kernels run.
        metallib: what Apple's compiler made.
    """

    device: Device
    metallib: CompiledLibrary

    def dispatches(self, case: Case) -> tuple[Dispatch, Dispatch]:
        """Launches of the kernel from its text and of the compiled one, on equal memory."""
        libraries = self.device.library(_text(case.family, case.headers)), self.metallib
        return tuple(
            _dispatch(case.launch(), library.pipeline(case.compiled, case.constants))
            for library in libraries
        )


def witness(device: Device) -> Witness:
    """Both roads on a device; raises FetchError where the kernels can't be had."""
    return Witness(device, CompiledLibrary(device._core, _container()))


@functools.cache
def _text(family: str, headers: tuple[str, ...]) -> str:
    """A text with all kernels of a family."""
    calls = {one.compiled: one.call for one in cases() if one.family == family}
    return mlx.instantiated(mlx.flattened(*headers), **calls)


@functools.cache
def _container() -> Metallib:
    return Metallib(mlx.metallib())


def _dispatch(launch: Launch, pipeline) -> Dispatch:
    return Dispatch(pipeline, launch.threadgroups, launch.threads, launch.buffers)


def _bits(values: np.ndarray) -> np.ndarray:
    return values.view(f"u{values.itemsize}").ravel()


@dataclass(frozen=True)
class Judged:
    """What the two gave: share of outputs whose bits are equal, and errors against FP64.

    Errors and the ``largest`` wanted number are by the launch's scale.
    """

    equal: float
    error_of_text: float
    error_of_compiled: float
    largest: float


def judge(case: Case, text: Dispatch, compiled: Dispatch) -> Judged:
    """Compare what two dispatches that have run wrote."""
    launch = case.launch()
    outputs = [[one.buffers[i] for i in launch.outputs] for one in (text, compiled)]
    same = [_bits(a) == _bits(b) for a, b in zip(*outputs, strict=True)]
    errors = []
    for written in outputs:
        actual, wanted = launch.wanted(written)
        errors.append(float(np.abs(actual - wanted).max() / launch.scale))
    largest = float(np.abs(wanted).max() / launch.scale)
    return Judged(float(np.concatenate(same).mean()), *errors, largest)

"""What a row's result may hold: each metric's unit, whether it repeats, and which way is better.

Comparisons, the report's table and its charts read this; none tells metrics apart by their names'
spelling. A prototype of one's own declares what it adds on itself (``Prototype.metrics``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Why two runs of the same code may differ: not at all, by the order of rounding, or by the clock.
EXACT, ROUNDING, CLOCK = "exact", "rounding", "clock"
LOWER, HIGHER, NEITHER = "lower", "higher", ""
# Units of what is no number.
TRUTH, TEXT, LIST, COUNTS = "truth", "text", "list", "counts"


@dataclass(frozen=True)
class Metric:
    """One name that results hold.

    Attributes:
        name: Its key in a row's ``result``.
        unit: Of the number; ``truth``, ``text``, ``list`` or ``counts`` where it is none.
        noise: ``exact``, ``rounding`` or ``clock``.
        better: ``lower``, ``higher`` or neither. A truth that is ``higher`` ought to be true.
        compared: Whether a comparison of two rows names its change. Not where another metric says
            the same better, or the versions of compilers decide.
        heading: Of its column in the report's table, where it has one.
    """

    name: str
    unit: str
    noise: str = EXACT
    better: str = NEITHER
    compared: bool = True
    heading: str = ""

    @property
    def is_compared(self) -> bool:
        """Whether two rows' values alone say that one is worse; times need their samples."""
        return self.compared and self.better != NEITHER and self.noise != CLOCK


def _each(
    names: str, unit: str, noise: str = EXACT, better: str = NEITHER, compared: bool = True
) -> Iterator[Metric]:
    return (Metric(name, unit, noise, better, compared) for name in names.split())


def _prefixed(prefixes: str, metrics: Iterable[Metric]) -> Iterator[Metric]:
    for one in list(metrics):
        for prefix in prefixes.split():
            name = f"{prefix}_{one.name}"
            yield Metric(name, one.unit, one.noise, one.better, one.compared)


def _of_ways(metrics: Iterable[Metric]) -> Iterator[Metric]:
    """A metric for each way to modify scores (kernels.score_dispatch)."""
    for one in list(metrics):
        for way in ("inline", "argument", "constant", "stitched", "table", "noinline"):
            yield Metric(f"{one.name}_{way}", one.unit, one.noise, one.better, one.compared)


# What a thread does, as dynamic counts name it.
_OPERATIONS = (
    *_each(
        "matrix_operations shuffles reductions votes exponentials float_operations conversions "
        "integer_operations threadgroup_barriers simdgroup_barriers threadgroup_loads "
        "threadgroup_stores device_loads device_stores constant_loads",
        "operations", better=LOWER,
    ),
    *_each(
        "device_load_bytes device_store_bytes threadgroup_load_bytes threadgroup_store_bytes "
        "constant_load_bytes private_load_bytes private_store_bytes",
        "bytes", better=LOWER,
    ),
    *_each(
        "transcendentals instructions branches threadgroup_atomics device_atomics "
        "threadgroup_loads_vector threadgroup_stores_vector device_loads_vector "
        "device_stores_vector",
        "operations", better=LOWER, compared=False,
    ),
)  # fmt: skip
_PAIRED = (
    *_each("ratio ratio_low ratio_high", "ratio", CLOCK),
    *_each("a_us b_us", "us", CLOCK, LOWER),
    *_each("p_value", "", CLOCK),
    *_each("blocks", "blocks", CLOCK),
    *_each("cv", "ratio", CLOCK, LOWER),
    *_each("verdict protocol", TEXT, CLOCK),
    *_each("memory", TEXT),
    *_each("repeats", LIST, CLOCK),
)
_PEERS = (
    *_each("peer peer_device", TEXT),
    *_each("peer_worst_ratio", "ratio", ROUNDING, LOWER),
    *_each("own_gpu_us", "us", CLOCK, LOWER),
    *_prefixed("emulated", _each("own_gpu_us", "us", CLOCK, LOWER)),
)
_STITCHED = (
    *_each("compile_inline_us compile_way_us function_inline_us function_way_us", "us", CLOCK,
           LOWER),
    *_each("ns_per_call ns_per_call_low ns_per_call_high", "ns", CLOCK, LOWER),
    *_each("break_even_dispatches", "dispatches", CLOCK, LOWER),
)  # fmt: skip
_ROADS = "cold memory disk archive"  # to a compiled variant
_COMPILED = (
    *_prefixed(_ROADS, _each("library_us function_us pipeline_us wall_us", "us", CLOCK, LOWER)),
    *_prefixed(_ROADS, _each("library_all_us function_all_us pipeline_all_us", LIST, CLOCK)),
    *_each("wall_us", LIST, CLOCK),
    *_each("archive_load_us archive_create_us", "us", CLOCK, LOWER),
)
# The columns of the report's table of rows, in their order.
COLUMNS = (
    Metric("time_us", "us", CLOCK, LOWER, heading="time, us"),
    Metric("modelled_us", "us", heading="modelled, us"),
    Metric("cv", "ratio", CLOCK, LOWER, heading="CV"),
    Metric("median_ulp", "ULP", ROUNDING, LOWER, compared=False, heading="median ULP"),
    Metric("p99_ulp", "ULP", ROUNDING, LOWER, heading="p99 ULP"),
    Metric("max_row_ulp", "ULP", ROUNDING, LOWER, heading="max ULP of row"),
    Metric("worst_ratio", "ratio", ROUNDING, LOWER, heading="error / allowed"),
    Metric("threadgroup_bytes", "bytes", EXACT, LOWER, heading="threadgroup bytes"),
)
# What a model expects, which no clock has a part in (model.prediction).
_MODELLED = (
    *_each("modelled_low_us modelled_high_us modelled_least_us", "us"),
    *_each("modelled_constant_rate_us modelled_nearest_us", "us"),
    *_each("modelled_ratio modelled_ratio_low modelled_ratio_high", "ratio"),
    *_each("modelled_crossover modelled_crossover_low modelled_crossover_high", "keys"),
    *_each("modelled_tier modelled_chip modelled_limit modelled_nearest", TEXT),
    *_each("modelled_refused", LIST),
)
# Every prototype's.
_SHARED = (
    *_MODELLED,
    *_each("kernel_hash", TEXT),
    *_each("max_ulp", "ULP", ROUNDING, LOWER, compared=False),
    *_each("max_abs_error", "", ROUNDING, LOWER, compared=False),
    *_each("time_low_us time_high_us compile_us emulated_us", "us", CLOCK, LOWER),
    *_each("samples_us", LIST, CLOCK),
    *_each("outliers", "samples", CLOCK, LOWER),
    *_each("throttled bimodal hot", TRUTH, CLOCK),
    *_each("thermal low_power_mode power", TEXT, CLOCK),
    *_each("cooled_s", "s", CLOCK),
    *_each("flops", "FLOP"),
    *_each("bytes", "bytes"),
    *_each("peaks", LIST, CLOCK),
    *_each("counts", COUNTS),
    *_each("refused", TEXT),
    *_each("versions", TEXT),
    *_each("dispatches submissions kernels", "operations", better=LOWER),
    *_OPERATIONS,
    *_PAIRED,
)
_OF_PROTOTYPES = (
    # flash
    *_each("declared_bytes", "bytes", better=LOWER),
    *_each("query_place", TEXT),
    *_each("blind_rows", "rows"),
    *_each("blind_rows_are_zero", TRUTH, better=HIGHER),
    # stitch
    *_each("calls", "calls"),
    *_each("ways", LIST),
    *_of_ways(_each("worst_ratio", "ratio", ROUNDING, LOWER)),
    *_of_ways(_each("row_ulp", "ULP", ROUNDING, LOWER)),
    *_of_ways(_each("different", "elements", better=LOWER)),
    *_of_ways(_each("instructions calls indirect", "instructions", better=LOWER)),
    *_of_ways(_each("same", TRUTH, better=HIGHER)),
    *_STITCHED,
    *_PEERS,
    *_prefixed("emulated", (*_STITCHED, *_PAIRED)),
    # paged
    *_each("staged_bytes scratch_bytes", "bytes", better=LOWER),
    *_each("partitions", "partitions"),
    *_each("shared_pages", "pages"),
    *_each("empty_contexts", "sequences"),
    *_each("empty_are_zero equals_twin equals_flash", TRUTH, better=HIGHER),
    *_prefixed("paged contiguous", (*_OPERATIONS, Metric("counts", COUNTS))),
    # constants
    *_each("compiler", TEXT),
    *_each("cached served cached_cold cached_memory cached_disk cached_archive", "variants"),
    *_each("distinct_objects", "objects"),
    *_each("archive_refused", TEXT),
    # An archive holds what the driver puts there.
    *_each("archive_bytes", "bytes", better=LOWER, compared=False),
    *_COMPILED,
    *_prefixed("emulated", _COMPILED),
    # cubecl
    *_each("a_flops b_flops", "FLOP"),
    *_each("a_tflops b_tflops", "TFLOP/s", CLOCK, HIGHER),
    *_each("text as_generated ptxas", TEXT),
    *_each("rejected mends not_counted", LIST),
    *_each("text_lines", "lines"),
    *_each("threads device_max_threads", "threads"),
    *_each("live_registers ptx_registers agx_live_registers", "registers", better=LOWER,
           compared=False),
    *_each("agx_max_threads", "threads", better=HIGHER, compared=False),
    *_each("barriers_a_thread", "operations", better=LOWER, compared=False),
    *_each("ir_frame_bytes ptx_spill_bytes", "bytes", better=LOWER),
    *_each("text_matrix_operations ir_matrix_operations sass_matrix_operations "
           "air_matrix_operations ir_threadgroup_barriers ir_simdgroup_barriers sass_barriers "
           "air_barriers as_generated_ir_matrix_operations as_generated_sass_matrix_operations",
           "instructions", better=LOWER),
    *_each("ir_instructions sass_instructions air_instructions agx_instructions "
           "as_generated_ir_instructions", "instructions", better=LOWER, compared=False),
    # linear
    *_each("state_ratio", "ratio", ROUNDING, LOWER),
    *_each("state_bytes tensor_bytes", "bytes", better=LOWER),
    *_each("linear_flops softmax_flops", "FLOP"),
    *_prefixed("linear softmax", _each("flop matrix_flop", "FLOP", better=LOWER)),
    *_prefixed("linear softmax", _each("exponentials", "operations", better=LOWER)),
    *_prefixed("linear softmax", _each("load_bytes store_bytes", "bytes", better=LOWER)),
    *_prefixed("linear softmax", _each("counts", COUNTS)),
    *_each("status", TEXT, CLOCK),
    *_each("crossover_low crossover_high crossover_estimate", "keys", CLOCK),
    *_each("probes", LIST, CLOCK),
    *_each("probe_cv", "ratio", CLOCK, LOWER),
    *_each("probe_blocks", "blocks", CLOCK),
    # variants
    *_each("source", TEXT),
    *_each("alone_worst_ratio", "ratio", ROUNDING, LOWER),
    *_each("alone_dispatches", "operations", better=LOWER),
    *_each("alone_equals_fused", TRUTH, better=HIGHER),
    *_each("largest_difference", "", ROUNDING, LOWER, compared=False),
    *_each("key_bytes", "bytes", better=LOWER),
    *_prefixed("fused alone base", _each("load_bytes store_bytes", "bytes", better=LOWER)),
    *_prefixed("fused alone", _each("float_operations", "operations", better=LOWER)),
    *_prefixed("variant base", (*_OPERATIONS, Metric("counts", COUNTS))),
    # burn
    *_each("n", "samples"),
    *_each("delegated_methods", "methods"),
    *_each("delegate_lines trait_lines wrapper_lines", "lines"),
    *_prefixed("nothing c_abi trait copies tensor_api tensor_api_copied",
               _each("us low_us high_us", "us", CLOCK, LOWER)),
)  # fmt: skip
# A pair has a cv too, which means the same.
SHARED = {one.name: one for one in (*_SHARED, *COLUMNS)}
METRICS = {one.name: one for one in _OF_PROTOTYPES} | SHARED
_NUMBERS = {
    whose: {name for name, one in declared.items() if one.unit not in (TRUTH, TEXT, LIST, COUNTS)}
    for whose, declared in (("shared", SHARED), ("all", METRICS))
}
_NOT_FINITE = ("nan", "inf", "-inf")  # as JSON says them (store.plain)


def not_numeric(proto: str, result: Mapping[str, Any]) -> str:
    """Say which of a result's numbers is none, in words; nothing where all are.

    Args:
        proto: Whose result it is. A prototype of one's own, named by its module, may give other
            meanings to names that only one of the eight uses.
        result: A row's.
    """
    numbers = _NUMBERS["shared" if ":" in proto else "all"]
    for name, value in result.items():
        if type(value) in (int, float) or value is None or name not in numbers:
            continue
        if value not in _NOT_FINITE:
            return f"result.{name}: {str(value)[:40]!r} is no number"
    for name, values in (("samples_us", result.get("samples_us")), ("peaks", result.get("peaks"))):
        kind = list if name == "samples_us" else dict
        members = values.values() if isinstance(values, dict) else values
        if values is not None and not (
            isinstance(values, kind) and all(type(value) in (int, float) for value in members)
        ):
            return f"result.{name}: holds what is no number"
    return ""

"""Prototype 5: the MSL that CubeCL generates, beside MSL written by hand.

A point is one kernel, for S = Q K^T or for attention, generated or ours: judged against FP64, its
instructions counted in the same compilers and, as it runs, by the counting engine. A generated
text that MSL does not define is run as it is and mended. A pair is two kernels for one task, which
are timed in turns where times are measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from attnproto import reference
from attnproto.dtypes import BY_NAME
from attnproto.errors import AttnprotoError, DispatchError
from attnproto.measure import pairs, static_counts
from attnproto.problem import AttentionProblem
from attnproto.prototypes import rust_crates
from attnproto.prototypes.registry import OK, WRONG, Outcome, Prototype
from attnproto.reference import gate
from attnproto.results.store import content_key

from .findings import conclude
from .kernels import ATTENTION, SCORES, TASKS, THEIRS, Subject, mended, settled, subject_of
from .tables import sections

D = 64
# FP32 sums of D products of normal values, each element with an error of D rounding steps.
_SCORES_ALLOWED = reference.Tolerance(1e-4, 1e-4)
_SIZES = {"quick": ((2, 128),), "full": ((2, 128), (8, 1024))}
_PAIRS = (
    ("cmma", "hand8"),
    ("cmma", "hand32"),
    ("cubek", "hand32"),
    ("scalar-wgsl", "scalar"),
    ("flash", "hand-flash"),
)


def points(mode: str) -> list[dict[str, Any]]:
    """List the points: every kernel and pair, in both element types, at each size."""
    listed = []
    for (heads, n), dtype in itertools.product(_SIZES[mode], ("f16", "f32")):
        shared = {"H": heads, "N": n, "D": D, "dtype": dtype}
        listed += [{"kind": "kernel", "name": name, **shared} for name in TASKS]
        listed += [{"kind": "pair", "a": a, "b": b, **shared} for a, b in _PAIRS]
    return listed


def _problem(point: Mapping[str, Any]) -> AttentionProblem:
    heads, n = point["H"], point["N"]
    return AttentionProblem(1, heads, heads, n, n, point["D"], point["dtype"], False)


def kernel_hash(point: Mapping[str, Any]) -> str:
    """Hash the texts behind a point, alike for every run of the generator."""
    names = [point[key] for key in ("name", "a", "b") if key in point]
    texts = (subject_of(name, _problem(point)).text for name in names)
    return content_key([settled(text) for text in texts])


def run(point: dict[str, Any], device: Any, mode: str) -> Outcome:
    """Judge one kernel and count what it does, or compare two.

    Raises:
        AttnprotoError: CubeCL's side cannot be generated here, or a device refuses our text.
    """
    problem = _problem(point)
    hashed = {"kernel_hash": kernel_hash(point)}
    if point["kind"] == "pair":
        return _pair(point, problem, device, mode, hashed)
    subject = subject_of(point["name"], problem)
    if subject.refused:
        said = {"refused": subject.refused[:400], "versions": subject.versions}
        return Outcome(OK, "", hashed | said)
    sound, places = mended(subject)
    judged, seen = _judged(sound, problem, device)
    result: dict[str, Any] = hashed | {
        "worst_ratio": judged.worst_ratio,
        "max_abs_error": judged.max_abs_error,
        "text_lines": sum(bool(line.strip()) for line in subject.text.splitlines()),
        "text_matrix_operations": subject.text.count("simdgroup_multiply_accumulate("),
        "threadgroup_bytes": seen["static"] + sum(subject.threadgroup_bytes.values()),
        "threads": int(np.prod(subject.threads)),
        "device_max_threads": seen["max_threads"],
        "flops": flops(point["name"], problem),
        **static_counts.counts(sound.text, sound.function, sound.constants),
        **_counted(sound, problem),
        "text": subject.text,
        "rejected": _rejected(subject.text),
    }
    if subject.name in THEIRS:
        result |= {"versions": subject.versions, "mends": places}
        result |= _as_generated(subject, problem, device) if places else {"as_generated": "right"}
    return Outcome(OK, "", result) if judged.passed else Outcome(WRONG, judged.reason, result)


def _rejected(text: str) -> list[str]:
    """What Apple's MSL 3.1 compiler would reject of a text, as its rules are known."""
    from attnproto.compiler.lint.language_rules import ERROR
    from attnproto.compiler.lint.lint import lint

    errors = (one for one in lint(text) if one.severity == ERROR)
    return [f"line {one.line}, {one.rule}: {one.message}" for one in errors]


def flops(name: str, problem: AttentionProblem) -> int:
    """Operations of a kernel's task: one product of a head, or whole attention."""
    return problem.flops if TASKS[name] == ATTENTION else 2 * problem.Nq * problem.Nkv * problem.D


def _task(name: str, problem: AttentionProblem) -> tuple[Any, ...]:
    """Inputs, FP64 truth, dtype of the output and tolerance."""
    q, k, v = problem.inputs(0)
    if TASKS[name] == SCORES:
        q, k = (np.ascontiguousarray(x[0, 0]) for x in (q, k))
        truth = q.astype(np.float64) @ k.astype(np.float64).T
        return (q, k), truth, "f32", _SCORES_ALLOWED
    truth = reference.softmax_attention(q, k, v, causal=False)
    return (q, k, v), truth, problem.dtype, reference.tolerance(problem, q, k, v)


def _judged(
    subject: Subject, problem: AttentionProblem, device: Any
) -> tuple[reference.Judgement, dict[str, int]]:
    inputs, truth, dtype, allowed = _task(subject.name, problem)
    tried = gate.attempt(
        lambda output: subject.launch(device, inputs, output), truth, dtype, allowed
    )
    pipeline = tried.returned
    seen = {
        "static": int(pipeline.static_threadgroup_bytes),
        "max_threads": int(pipeline.max_threads),
    }
    return tried.judgement, seen


def _as_generated(subject: Subject, problem: AttentionProblem, device: Any) -> dict[str, Any]:
    """What the text does before it is mended, and what compilers leave of it."""
    try:
        judged, _ = _judged(subject, problem, device)
        said = "right" if judged.passed else f"wrong: {judged.reason}"
    except AttnprotoError as error:
        said = f"refused: {error}"
    counted = static_counts.counts(subject.text, subject.function, subject.constants)
    wanted = ("ir_instructions", "ir_matrix_operations", "sass_matrix_operations")
    left = {f"as_generated_{name}": counted[name] for name in wanted if name in counted}
    return {"as_generated": said, **left}


def _counted(subject: Subject, problem: AttentionProblem) -> dict[str, Any]:
    """Dynamic counts of one launch, from the cpu device."""
    from attnproto.measure.dynamic_counts import count_launch

    inputs, truth, dtype, _ = _task(subject.name, problem)
    output = np.zeros(truth.size, BY_NAME[dtype].dtype)
    done = count_launch(lambda on: subject.launch(on, inputs, output))
    if not done.device_store_bytes:
        raise DispatchError("[cubecl.count] found no stores counted, needs some; check the counter")
    return {
        "counts": done.as_row(),
        # Counted in each lane; executed once a simdgroup.
        "matrix_operations": done.matrix_operations / 32,
        "simdgroup_barriers": done.simdgroup_barriers / 32,
        "barriers_a_thread": done.threadgroup_barriers / done.threads,
        "device_load_bytes": done.device_load_bytes,
        "device_store_bytes": done.device_store_bytes,
        "threadgroup_loads": done.threadgroup_loads,
        "threadgroup_stores": done.threadgroup_stores,
        "float_operations": done.float_operations,
        "conversions": done.conversions,
        "live_registers": done.live_registers,
    }


def _pair(
    point: Mapping[str, Any],
    problem: AttentionProblem,
    device: Any,
    mode: str,
    result: dict[str, Any],
) -> Outcome:
    """Two kernels on the same inputs: the same shapes and the same operations."""
    kernels = []
    for name in (point["a"], point["b"]):
        subject = subject_of(name, problem)
        if subject.refused:
            return Outcome(OK, "", {**result, "refused": subject.refused[:400]})
        sound, _ = mended(subject)
        judged, _ = _judged(sound, problem, device)
        if not judged.passed:
            return Outcome(WRONG, f"{name}: {judged.reason}", result)
        kernels.append(sound)
    result |= {f"{side}_flops": flops(point[side], problem) for side in ("a", "b")}
    if device.tier != "emulated":
        recordings = [_recorded(kernel, problem, device) for kernel in kernels]
        result |= pairs.compare(recordings, mode=mode)
        for side in ("a", "b"):
            result[f"{side}_tflops"] = result[f"{side}_flops"] / result[f"{side}_us"] / 1e6
    return Outcome(OK, "", result)


def _recorded(subject: Subject, problem: AttentionProblem, device: Any) -> Any:
    inputs, truth, dtype, _ = _task(subject.name, problem)
    judged, again = (np.full(truth.size, np.nan, BY_NAME[dtype].dtype) for _ in range(2))
    subject.launch(device, inputs, judged)
    return pairs.recorded(device, lambda on: subject.launch(on, inputs, again), again, judged)


PROTOTYPE = Prototype(
    "cubecl",
    points,
    run,
    conclude,
    kernel_hash,
    rust_crates.missing,
    prepare=rust_crates.prepare,
    sections=sections,
    unmodelled={"pair": "kernel: found generated kernels, published times have none like them"},
)

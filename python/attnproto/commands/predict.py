"""What a chip is expected to take: for tiles of flash attention, or for a kernel of one's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attnproto.commands.compile import only_kernel, read_text, typed_constants
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device.device import Device
from attnproto.dtypes import BY_NAME
from attnproto.errors import AttnprotoError, DispatchError
from attnproto.measure.dynamic_counts import count_launch
from attnproto.model.chip import CHIPS, Chip, read_chip
from attnproto.model.explain import explain
from attnproto.model.launches import flash_result, work_of_counts
from attnproto.model.prediction import predict_work
from attnproto.model.scope import DIRECT, STAGED, Attention
from attnproto.prototypes.registry import load
from attnproto.prototypes.rows import tile_name
from attnproto.sweep.points import check_points, keep, parse_axis, vary

_EXPECTED = "expected"  # the kind of flash's points that are modelled
_MOST_BYTES = 1 << 30
_BUFFER = re.compile(r"(\d+)=(\w+)(?::(\d+)|=(.+))")
_THREADGROUP = re.compile(r"(\d+)=(\d+)")
_INTEGERS = {
    f"{sign}{bits}": np.dtype(f"{kind}{bits}")
    for sign, kind in (("i", "int"), ("u", "uint"))
    for bits in (8, 16, 32, 64)
}


class PredictError(AttnprotoError, ValueError):
    """The command cannot be done as it was asked for."""


@dataclass(frozen=True)
class Launch:
    """A dispatch of a kernel of one's own, by the words of the command line.

    Attributes:
        file: MSL.
        kernel: Its name; empty: the only one of the file.
        launch: ``THREADGROUPSxTHREADS``, each up to three numbers: ``64,8x128``.
        buffers: ``INDEX=TYPE:ELEMENTS`` or ``INDEX=TYPE=VALUE``.
        threadgroup: ``INDEX=BYTES`` of threadgroup memory that the dispatch sets aside.
        constants: Function constants, as ``attnproto compile`` takes them.
        attention: ``N,D`` or ``N,D,staged`` where the kernel is attention.
    """

    file: Path
    kernel: str
    launch: str
    buffers: Sequence[str] = ()
    threadgroup: Sequence[str] = ()
    constants: Sequence[str] = ()
    attention: str = ""


def chip_of(name: str) -> Chip:
    """Return a chip by its name, or from the record that ``attnproto calibrate`` wrote.

    Raises:
        PredictError: Neither is there.
    """
    if name in CHIPS:
        return CHIPS[name]
    if Path(name).is_file():
        return read_chip(Path(name))
    raise PredictError(
        f"[predict] found no chip {name!r}, needs one of {', '.join(CHIPS)} or a file that "
        "attnproto calibrate wrote"
    )


def predict_points(
    only: str, axis: Sequence[str], where: Sequence[str], chip: Chip, say: Callable[[str], None]
) -> None:
    """Say what tiles of flash attention are expected to take.

    Args:
        only: The prototype; ``flash``.
        axis: Values in place of the points' own.
        where: Conditions on points.
        chip: For which.
        say: Takes each line.

    Raises:
        PredictError: The prototype has no such points, or no point is left.
        SweepError: An axis or a condition that is none.
    """
    if only != "flash":
        raise PredictError(
            f"[predict] found --only {only!r}, needs flash, whose tiles were published times of "
            "kernels alike; give other kernels as files"
        )
    prototype = load(only)
    own = [point for point in prototype.points("quick") if point["kind"] == _EXPECTED]
    points = vary(own, dict(map(parse_axis, axis)))
    check_points(only, points, own, prototype.axes)
    points = keep(points, where)
    if not points:
        raise PredictError("[predict] found no point that meets --where, needs one; loosen it")
    say(f"on {chip.name}, modelled and not measured; {chip.interval_meaning}")
    for point in points:
        say(_line(point, chip))


def _line(point: dict[str, Any], chip: Chip) -> str:
    from attnproto.prototypes.flash.prototype import problem_of, tile_of

    problem = problem_of(point)
    result = flash_result(problem, tile_of(point), chip)
    name = f"{tile_name(point)} D={point['D']} {point['dtype']} Nq={point['Nq']} Nkv={point['Nkv']}"
    if "modelled_us" in result:
        return (
            f"{name}: {result['modelled_us']:.4g} us ({result['modelled_low_us']:.4g} to "
            f"{result['modelled_high_us']:.4g}), {problem.flops / result['modelled_us'] / 1e6:.2f} "
            f"TFLOP/s, limited by {result['modelled_limit']}{_beside(result)}"
        )
    least = result.get("modelled_least_us")
    bound = f"not faster than {least:.4g} us; " if least else ""
    return f"{name}: {bound}no number: {'; '.join(result['modelled_refused'])}"


def _beside(result: dict[str, Any]) -> str:
    """The two baselines, which the published chip has."""
    if result["modelled_nearest_us"] is None:
        return ""
    return (
        f"; by a constant rate {result['modelled_constant_rate_us']:.4g} us, by that of the "
        f"nearest published kernel, {result['modelled_nearest']}, "
        f"{result['modelled_nearest_us']:.4g} us"
    )


def predict_file(asked: Launch, chip: Chip, say: Callable[[str], None]) -> None:
    """Say what one dispatch of a kernel is expected to take.

    The dispatch is run once on a device that counts, which takes a while where it is large.

    Args:
        asked: The kernel and its launch.
        chip: For which.
        say: Takes the text.

    Raises:
        PredictError: A launch, a buffer or an attention that cannot be read.
        KernelCompileError: The text is not valid MSL.
    """
    groups, threads = _grid(asked.launch)
    text = read_text(asked.file)
    buffers = dict(map(_buffer, asked.buffers))
    nbytes = dict(map(_threadgroup, asked.threadgroup))
    attention = _attention(asked.attention) if asked.attention else None
    constants = typed_constants(asked.constants)

    name = asked.kernel or only_kernel(text, NativeFrontEnd().target)

    def launch(device: Device) -> None:
        pipeline = device.library(text).pipeline(name, constants)
        device.run(
            pipeline,
            threadgroups=groups,
            threads=threads,
            buffers=buffers,
            threadgroup_bytes=nbytes,
        )

    try:
        counts = count_launch(launch)
    except DispatchError as error:
        raise PredictError(
            f"{error} (here: by --buffer, such as --buffer 0=f32:4096, or by --threadgroup, such "
            "as --threadgroup 0=1024; attnproto.model.predict takes any launch)"
        ) from error
    work = work_of_counts(counts, even=attention is not None)
    say(explain(work, predict_work(work, attention, chip), chip))


def _grid(text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    sides = [side.split(",") for side in text.split("x")]
    words = [word for side in sides for word in side]
    if len(sides) != 2 or max(map(len, sides)) > 3 or not all(w.isdecimal() for w in words):
        raise PredictError(
            f"[predict] found --launch {text!r}, needs THREADGROUPSxTHREADS; write 64,8x128"
        )
    groups, threads = (tuple(map(int, side)) for side in sides)
    return groups, threads


def _buffer(text: str) -> tuple[int, Any]:
    match = _BUFFER.fullmatch(text)
    kinds = {**{name: one.dtype for name, one in BY_NAME.items()}, **_INTEGERS}
    if not match or match[2] not in kinds:
        raise PredictError(
            f"[predict] found --buffer {text!r}, needs INDEX=TYPE:ELEMENTS or INDEX=TYPE=VALUE "
            f"with a type of {', '.join(kinds)}; write 0=f16:4096 or 3=i32=64"
        )
    kind = np.dtype(kinds[match[2]])
    if match[4] is not None:
        try:
            return int(match[1]), kind.type(match[4])
        except (ValueError, OverflowError) as error:
            raise PredictError(
                f"[predict] found --buffer {text!r} ({error}), needs a value of {match[2]}"
            ) from error
    count = int(match[3])
    if not 0 < count * kind.itemsize <= _MOST_BYTES:
        raise PredictError(
            f"[predict] found --buffer {text!r}, needs 1 to {_MOST_BYTES // kind.itemsize} elements"
        )
    if match[2] in _INTEGERS:
        return int(match[1]), np.zeros(count, kind)
    return int(match[1]), np.random.default_rng(0).standard_normal(count, np.float32).astype(kind)


def _threadgroup(text: str) -> tuple[int, int]:
    match = _THREADGROUP.fullmatch(text)
    if not match:
        raise PredictError(
            f"[predict] found --threadgroup {text!r}, needs INDEX=BYTES; write 0=1024"
        )
    return int(match[1]), int(match[2])


def _attention(text: str) -> Attention:
    n, d, way = [*text.split(","), DIRECT][:3] if text.count(",") in (1, 2) else ("", "", "")
    if not (n.isdecimal() and d.isdecimal() and way in (DIRECT, STAGED)):
        raise PredictError(
            f"[predict] found --attention {text!r}, needs N,D and perhaps {DIRECT} or {STAGED}; "
            "write 4096,64"
        )
    return Attention(int(n), int(d), way)

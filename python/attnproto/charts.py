"""Charts of a report, each an SVG text made to stand inside an HTML page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from .published import mark_to_reach

Row = Mapping[str, Any]
# Okabe and Ito's colours, which the colour-blind tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Beyond this many, a scatter shows an even selection and says so.
_MOST_MARKS = 1500
_STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e0",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def number(row: Row, name: str) -> float | None:
    """Return a row's result as a finite float, or None."""
    value = row["result"].get(name)
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) else None


def is_timed(row: Row) -> bool:
    """True for a right result with a time that was measured, not emulated."""
    return (
        row["status"] == "ok"
        and row["device"]["tier"] == "measured"
        and number(row, "time_us") is not None
    )


def _svg(figure: Figure, name: str, title: str) -> str:
    buffer = io.StringIO()
    with plt.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # The page scales the picture, so its own size must not stand in the way.
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{title}">{rest}'


def _thin(rows: Sequence[Row]) -> Sequence[Row]:
    step = max(1, math.ceil(len(rows) / _MOST_MARKS))
    return rows[::step]


def _series(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _kind(row: Row) -> str:
    return str(row["point"].get("dtype", row["proto"]))


def threadgroup_map(rows: Sequence[Row]) -> str | None:
    """Draw threadgroup bytes over Br and D, one panel a dtype; Bc is said when it matters."""
    cells: dict[str, dict[tuple[int, int], set[int]]] = {}
    # Where a prototype swept its tiles on purpose, single other points would only leave holes.
    swept = [row for row in rows if row["point"].get("kind") == "tile"]
    for row in swept or rows:
        value, point = number(row, "threadgroup_bytes"), row["point"]
        if value is None or not all(name in point for name in ("Br", "Bc", "D", "dtype")):
            continue
        at = (int(point["D"]), int(point["Br"]))
        cells.setdefault(point["dtype"], {}).setdefault(at, set()).add(int(value))
    if not cells:
        return None
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(
            len(cells), 1, figsize=(5.2, 0.7 + 1.75 * len(cells)), squeeze=False
        )
        for axis, (dtype, values) in zip(axes[:, 0], sorted(cells.items()), strict=True):
            columns = sorted({d for d, _ in values})
            lines = sorted({br for _, br in values})
            grid = [
                [max(values[d, br]) if (d, br) in values else math.nan for d in columns]
                for br in lines
            ]
            axis.imshow(grid, cmap="Blues", vmin=0, vmax=40000, aspect="auto", origin="lower")
            for y, br in enumerate(lines):
                for x, d in enumerate(columns):
                    found = sorted(values.get((d, br), ()))
                    text = "–".join(f"{v / 1024:g}" for v in (found[:1] + found[-1:])[: len(found)])
                    colour = "white" if found and max(found) > 20000 else "#111111"
                    axis.text(x, y, text, ha="center", va="center", color=colour)
            axis.set_xticks(range(len(columns)), [f"D {d}" for d in columns])
            axis.set_yticks(range(len(lines)), [f"Br {br}" for br in lines])
            axis.grid(False)
            axis.tick_params(length=0)
            axis.set_title(f"{dtype}, KiB of 32", loc="left", fontsize=11)
            for side in axis.spines.values():
                side.set_visible(False)
        figure.tight_layout()
        return _svg(figure, "threadgroup", "Threadgroup memory by tile")


def _scatter(
    rows: Sequence[Row],
    x: Callable[[Row], float | None],
    y: Callable[[Row], float | None],
    labels: tuple[str, str],
    name: str,
    title: str,
    interval: Callable[[Row], tuple[float, float]] | None = None,
    decorate: Callable[[Any], None] | None = None,
) -> str | None:
    points = [row for row in rows if x(row) is not None and y(row) is not None]
    points = [row for row in points if x(row) > 0 and y(row) > 0]  # type: ignore[operator]
    if not points:
        return None
    shown = _thin(points)
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(5.2, 3.6))
        for i, (series, members) in enumerate(sorted(_series(shown, _kind).items())):
            colour, marker = _COLOURS[i % 7], _MARKERS[i % 7]
            xs, ys = [x(row) for row in members], [y(row) for row in members]
            axis.plot(xs, ys, marker, color=colour, ms=5, alpha=0.7, label=series, mew=0)
            if interval is not None:
                spans = [interval(row) for row in members]
                axis.vlines(xs, [s[0] for s in spans], [s[1] for s in spans], colour, lw=1)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel(labels[0])
        axis.set_ylabel(labels[1])
        if decorate is not None:
            decorate(axis)
        if len(shown) < len(points):
            axis.set_title(f"{len(shown)} of {len(points)} points", loc="right", fontsize=9)
        axis.legend(frameon=False, fontsize=9)
        return _svg(figure, name, title)


def _length(row: Row) -> float | None:
    value = row["point"].get("Nkv", row["point"].get("N"))
    return None if value is None else float(value)


def _tflops(row: Row, name: str = "time_us") -> float | None:
    time_us, flops = number(row, name), number(row, "flops")
    return None if not time_us or flops is None else flops / time_us / 1e6


def error_by_length(rows: Sequence[Row]) -> str | None:
    """Draw the largest error, in ULP of its row's largest element, over the number of keys."""
    judged = [row for row in rows if row["point"].get("input", "normal") == "normal"]
    return _scatter(
        judged,
        _length,
        lambda row: number(row, "max_row_ulp"),
        ("keys", "largest error, ULP of its row"),
        "error",
        "Error in ULP by number of keys",
    )


def throughput(rows: Sequence[Row]) -> str | None:
    """Draw measured TFLOP/s over N with intervals, published M4 marks as dashed lines."""

    def span(row: Row) -> tuple[float, float]:
        value = _tflops(row) or 0.0
        return _tflops(row, "time_high_us") or value, _tflops(row, "time_low_us") or value

    def marks(axis: Any) -> None:
        for dtype, style in (("f16", "--"), ("f32", ":")):
            mark = mark_to_reach(dtype, 64, 8192)
            if mark is not None and mark.tflops is not None:
                axis.axhline(mark.tflops, color="#777777", ls=style, lw=1)
                text = f"published M4, MFA {dtype} D64"
                axis.annotate(
                    text, (0.01, mark.tflops), xycoords=("axes fraction", "data"), fontsize=8
                )

    timed = [row for row in rows if is_timed(row)]
    labels = ("keys", "TFLOP/s (measured)")
    return _scatter(timed, _length, _tflops, labels, "rate", "Throughput by N", span, marks)


def throughput_by_tile(rows: Sequence[Row]) -> str | None:
    """Draw each tile's best measured TFLOP/s as a bar with its interval."""
    best: dict[str, Row] = {}
    for row in rows:
        point = row["point"]
        if not is_timed(row) or "Br" not in point or _tflops(row) is None:
            continue
        name = f"{point['Br']}x{point['Bc']} D{point['D']} {point['dtype']}"
        if name not in best or (_tflops(row) or 0) > (_tflops(best[name]) or 0):
            best[name] = row
    if not best:
        return None
    names = sorted(best, key=lambda name: _tflops(best[name]) or 0)[-24:]
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(5.2, 1.0 + 0.24 * len(names)))
        rates = [_tflops(best[name]) or 0.0 for name in names]
        axis.barh(names, rates, color=_COLOURS[0], height=0.7)
        for y, name in enumerate(names):
            low = _tflops(best[name], "time_high_us") or rates[y]
            high = _tflops(best[name], "time_low_us") or rates[y]
            axis.plot([low, high], [y, y], color="#111111", lw=1.2)
        axis.set_xlabel("TFLOP/s (measured), best N, with 95 % interval")
        axis.tick_params(axis="y", labelsize=8)
        return _svg(figure, "tiles", "Throughput by tile")


def roofline(rows: Sequence[Row]) -> str | None:
    """Draw measured TFLOP/s over arithmetic intensity under the probed peaks."""
    timed = [row for row in rows if is_timed(row)]
    peaks = next((row["result"]["peaks"] for row in timed if row["result"].get("peaks")), None)

    def intensity(row: Row) -> float | None:
        flops, moved = number(row, "flops"), number(row, "bytes")
        return flops / moved if flops and moved else None

    def roof(axis: Any) -> None:
        if peaks:
            rate, bandwidth = float(peaks["flops_per_s"]), float(peaks["bytes_per_s"])
            xs = [2.0**i for i in range(0, 15)]
            axis.plot(xs, [min(rate, bandwidth * x) / 1e12 for x in xs], color="#444444", lw=1.2)

    labels = ("FLOP per byte of least traffic", "TFLOP/s (measured)")
    return _scatter(timed, intensity, _tflops, labels, "roof", "Roofline", None, roof)


def error_by_time(rows: Sequence[Row]) -> str | None:
    """Draw the error in ULP over the measured time."""
    timed = [row for row in rows if is_timed(row)]
    return _scatter(
        timed,
        lambda row: number(row, "time_us"),
        lambda row: number(row, "max_row_ulp"),
        ("time, us (measured)", "largest error, ULP of its row"),
        "error-time",
        "Error against time",
    )


def crossover(rows: Sequence[Row]) -> str | None:
    """Draw the paired ratio of two kernels over N, with intervals, where rows hold one."""

    def span(row: Row) -> tuple[float, float]:
        return number(row, "ratio_low") or 0.0, number(row, "ratio_high") or 0.0

    def even(axis: Any) -> None:
        axis.axhline(1.0, color="#444444", lw=1)

    pairs = [row for row in rows if is_timed(row) and number(row, "ratio") is not None]
    return _scatter(
        pairs,
        _length,
        lambda row: number(row, "ratio"),
        ("keys", "time ratio"),
        "crossover",
        "Crossover of two kernels",
        span,
        even,
    )


CHARTS: tuple[tuple[str, str, Callable[[Sequence[Row]], str | None]], ...] = (
    (
        "Threadgroup memory",
        "Read from the pipelines; the limit is 32 KiB. It follows from the code.",
        threadgroup_map,
    ),
    (
        "Error against FP64",
        "Each point is one problem; correct rounding gives at most 0.5 ULP.",
        error_by_length,
    ),
    ("Throughput", "Measured times only; dashed lines were published by others.", throughput),
    ("Throughput by tile", "Each tile at its best length.", throughput_by_tile),
    ("Roofline", "The line is this device's own probed peaks.", roofline),
    ("Error against time", "Lower left is better.", error_by_time),
    ("Crossover", "Above 1 the second kernel is faster.", crossover),
)

"""Charts of a report, each an SVG text made to stand inside an HTML page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    if value is None or not math.isfinite(value := float(value)):
        return None
    return value


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
    # Of a long sweep an even selection is drawn: more marks than this hide one another.
    step = max(1, len(rows) // _MOST_MARKS)
    points = [(row, x(row), y(row)) for row in rows[::step]]
    points = [(row, a, b) for row, a, b in points if a and b and a > 0.0 and b > 0.0]
    if not points:
        return None
    series: dict[str, list[tuple[Row, float, float]]] = {}
    for row, a, b in points:
        series.setdefault(str(row["point"].get("dtype", row["proto"])), []).append((row, a, b))
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(5.2, 3.6))
        for i, (name_of, members) in enumerate(sorted(series.items())):
            colour, marker = _COLOURS[i % 7], _MARKERS[i % 7]
            _, xs, ys = zip(*members, strict=True)
            axis.plot(xs, ys, marker, color=colour, ms=5, alpha=0.7, label=name_of, mew=0)
            if interval is not None:
                low, high = zip(*(interval(row) for row, _, _ in members), strict=True)
                axis.vlines(xs, low, high, colour, lw=1)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel(labels[0])
        axis.set_ylabel(labels[1])
        if decorate is not None:
            decorate(axis)
        if step > 1:
            axis.set_title(f"every {step}th of {len(rows):,} rows", loc="right", fontsize=9)
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
                    text,
                    (0.0, mark.tflops),
                    xycoords=("axes fraction", "data"),
                    xytext=(4, 3),
                    textcoords="offset points",
                    fontsize=8,
                )

    labels = ("keys", "TFLOP/s (measured)")
    return _scatter(rows, _length, _tflops, labels, "rate", "Throughput by N", span, marks)


def throughput_by_tile(rows: Sequence[Row]) -> str | None:
    """Draw each tile's best measured TFLOP/s as a bar with its interval."""
    best: dict[str, tuple[float, Row]] = {}
    for row in rows:
        point, rate = row["point"], _tflops(row)
        if rate is None or "Br" not in point:
            continue
        name = f"{point['Br']}x{point['Bc']} D{point['D']} {point['dtype']}"
        if name not in best or rate > best[name][0]:
            best[name] = rate, row
    if not best:
        return None
    chosen = sorted(best.items(), key=lambda item: item[1][0])[-24:]
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(5.2, 1.0 + 0.24 * len(chosen)))
        rates = [rate for _, (rate, _) in chosen]
        axis.barh([name for name, _ in chosen], rates, color=_COLOURS[0], height=0.7)
        for y, (_, (rate, row)) in enumerate(chosen):
            span = _tflops(row, "time_high_us") or rate, _tflops(row, "time_low_us") or rate
            axis.plot(span, [y, y], color="#111111", lw=1.2)
        axis.set_xlabel("TFLOP/s (measured), best N, with 95 % interval")
        axis.tick_params(axis="y", labelsize=8)
        return _svg(figure, "tiles", "Throughput by tile")


def roofline(rows: Sequence[Row]) -> str | None:
    """Draw measured TFLOP/s over arithmetic intensity under the probed peaks."""
    peaks = next((row["result"]["peaks"] for row in rows if row["result"].get("peaks")), None)

    def intensity(row: Row) -> float | None:
        flops, moved = number(row, "flops"), number(row, "bytes")
        return flops / moved if flops and moved else None

    def roof(axis: Any) -> None:
        if peaks:
            rate, bandwidth = float(peaks["flops_per_s"]), float(peaks["bytes_per_s"])
            xs = [2.0**i for i in range(0, 15)]
            axis.plot(xs, [min(rate, bandwidth * x) / 1e12 for x in xs], color="#444444", lw=1.2)

    labels = ("FLOP per byte of least traffic", "TFLOP/s (measured)")
    return _scatter(rows, intensity, _tflops, labels, "roof", "Roofline", None, roof)


def counted_work(rows: Sequence[Row]) -> str | None:
    """Draw the FLOP that kernels were counted to do a byte: unique, and asked for."""
    counted = [
        {**row, "result": value}
        for row in rows
        if row["status"] == "ok"
        for name, value in row["result"].items()
        if name == "counts" or name.endswith("_counts")
    ]

    def flop_per(row: Row, loaded: str, stored: str) -> float | None:
        counts = row["result"]
        # Each of a simdgroup's 32 lanes counts the 1024 FLOP that they do together.
        flop = counts["matrix_operations"] * 32 + counts["float_operations"]
        return flop / (counts[loaded] + counts[stored] or 1)

    return _scatter(
        counted,
        lambda row: flop_per(row, "unique_load_bytes", "unique_store_bytes"),
        lambda row: flop_per(row, "device_load_bytes", "device_store_bytes"),
        ("FLOP per unique device byte (counted)", "FLOP per byte asked for (counted)"),
        "work",
        "Counted work",
    )


def error_by_time(rows: Sequence[Row]) -> str | None:
    """Draw the error in ULP over the measured time."""
    return _scatter(
        rows,
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

    return _scatter(
        rows,
        _length,
        lambda row: number(row, "ratio"),
        ("keys", "time ratio"),
        "crossover",
        "Crossover of two kernels",
        span,
        even,
    )


@dataclass(frozen=True)
class Chart:
    """A chart: its title, a note, how to draw it, and whether it shows times."""

    title: str
    note: str
    draw: Callable[[Sequence[Row]], str | None]
    of_times: bool


_CHARTS = (
    Chart(
        "Threadgroup memory",
        "Read from the pipelines; the limit is 32 KiB. It follows from the code.",
        threadgroup_map,
        False,
    ),
    Chart(
        "Error against FP64",
        "Each point is one problem; correct rounding gives at most 0.5 ULP.",
        error_by_length,
        False,
    ),
    Chart("Throughput", "Measured; dashed lines were published by others.", throughput, True),
    Chart("Throughput by tile", "Each tile at its best length.", throughput_by_tile, True),
    Chart("Roofline", "The line is this device's own probed peaks.", roofline, True),
    Chart(
        "Roofline, counted",
        "Where a kernel stands on any device's roofline: exact counts, no times. What lies "
        "between the axes is read again from caches.",
        counted_work,
        False,
    ),
    Chart("Error against time", "Lower left is better.", error_by_time, True),
    Chart("Crossover", "Above 1 the second kernel is faster.", crossover, True),
)


def draw_charts(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Draw every chart that the rows have something for; emulated times are never drawn.

    Args:
        rows: Result rows.

    Returns:
        For each chart its title, note and SVG.
    """
    timed = [row for row in rows if is_timed(row)]
    drawn = ((chart, chart.draw(timed if chart.of_times else rows)) for chart in _CHARTS)
    return [
        {"title": chart.title, "note": chart.note, "svg": svg}
        for chart, svg in drawn
        if svg is not None
    ]

"""Charts of a report, each an SVG text made to stand inside an HTML page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from attnproto.measure import stats
from attnproto.model.beside import beside_expected
from attnproto.prototypes.registry import metrics_of
from attnproto.prototypes.rows import tile_name
from attnproto.results.metrics import COUNTS
from attnproto.results.published import mark_to_reach

from .plotting import (
    INK,
    SOFT,
    STYLE,
    WIDTH_IN,
    Row,
    colour_of,
    legend,
    legend_of_types,
    link,
    log_axes,
    marker_of,
    number,
    plt,
    scatter,
    series_of,
    svg,
)

# A pair's row says by its verdict whether it was equal; this is how wide the band is drawn.
_MARGIN = 0.02
_MOST_PAIRS = 40
_VERDICTS = {stats.FASTER: "<", stats.SLOWER: ">", stats.EQUAL: "s"}


def is_measured(row: Row) -> bool:
    """True for a right result on a device whose times are measured, not emulated."""
    return row["status"] == "ok" and row["device"]["tier"] == "measured"


def threadgroup_map(rows: Sequence[Row]) -> str | None:
    """Draw threadgroup bytes over Br and D, one panel a dtype; Bc is said when it matters."""
    cells: dict[str, dict[tuple[int, int], dict[int, Row]]] = {}
    # Where a prototype swept its tiles on purpose, single other points would only leave holes.
    swept = [row for row in rows if row["point"].get("kind") == "tile"]
    for row in swept or rows:
        value, point = number(row, "threadgroup_bytes"), row["point"]
        if value is None or not all(name in point for name in ("Br", "Bc", "D", "dtype")):
            continue
        at = (int(point["D"]), int(point["Br"]))
        cells.setdefault(point["dtype"], {}).setdefault(at, {})[int(value)] = row
    if not cells:
        return None
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(cells), 1, figsize=(WIDTH_IN, 0.7 + 1.75 * len(cells)), squeeze=False
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
                    sizes = sorted(values.get((d, br), {}))
                    text = "–".join(f"{v / 1024:g}" for v in (sizes[:1] + sizes[-1:])[: len(sizes)])
                    colour = "white" if sizes and max(sizes) > 20000 else "#111111"
                    at = link(values[d, br][sizes[-1]]) if sizes else None
                    axis.text(x, y, text, ha="center", va="center", color=colour, url=at)
            axis.set_xticks(range(len(columns)), [f"D {d}" for d in columns])
            axis.set_yticks(range(len(lines)), [f"Br {br}" for br in lines])
            axis.grid(False)
            axis.tick_params(length=0)
            axis.set_title(f"{dtype}, KiB of 32", loc="left", fontsize=11)
            for side in axis.spines.values():
                side.set_visible(False)
        figure.tight_layout()
        return svg(figure, "threadgroup", "Threadgroup memory by tile")


def _length(row: Row) -> float | None:
    value = row["point"].get("Nkv", row["point"].get("N"))
    return None if value is None else float(value)


def _tflops(row: Row, name: str = "time_us") -> float | None:
    time_us, flops = number(row, name), number(row, "flops")
    return None if not time_us or flops is None else flops / time_us / 1e6


def error_by_length(rows: Sequence[Row]) -> str | None:
    """Draw the largest error, in ULP of its row's largest element, over the number of keys."""
    judged = [row for row in rows if row["point"].get("input", "normal") == "normal"]
    return scatter(
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
        # The higher mark's name stands a little above its line, the lower one's below: they are
        # close.
        for dtype, style, up, side in (("f16", "--", -2, "bottom"), ("f32", ":", 2, "top")):
            mark = mark_to_reach(dtype, 64, 8192)
            if mark is not None and mark.tflops is not None:
                # Above the rows' marks, and its name beside the axes, where none of them lie.
                line = axis.axhline(mark.tflops, color=INK, ls=style, lw=1, zorder=4)
                line.set_gid(f"published-{dtype}")
                axis.annotate(
                    f"MFA {dtype}",
                    (1.0, mark.tflops),
                    xycoords=("axes fraction", "data"),
                    xytext=(3, up),
                    textcoords="offset points",
                    va=side,
                    fontsize=8,
                )

    labels = ("keys", "TFLOP/s (measured)")
    return scatter(rows, _length, _tflops, labels, "rate", "Throughput by N", span, marks)


def throughput_by_tile(rows: Sequence[Row]) -> str | None:
    """Draw each tile's best measured TFLOP/s as a bar with its interval."""
    best: dict[str, tuple[float, Row]] = {}
    devices = {row["device"]["name"] for row in rows}
    for row in rows:
        point, rate = row["point"], _tflops(row)
        if rate is None or "Br" not in point:
            continue
        name = f"{tile_name(point)} D{point['D']} {point['dtype']}"
        if len(devices) > 1:
            name += f" {row['device']['name']}"
        if name not in best or rate > best[name][0]:
            best[name] = rate, row
    if not best:
        return None
    chosen = sorted(best.items(), key=lambda item: item[1][0])[-24:]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(WIDTH_IN, 1.0 + 0.24 * len(chosen)))
        rates = [rate for _, (rate, _) in chosen]
        colours = [colour_of(row) for _, (_, row) in chosen]
        bars = axis.barh([name for name, _ in chosen], rates, color=colours, height=0.7)
        for bar, (_, (_, row)) in zip(bars, chosen, strict=True):
            bar.set_url(link(row))
        for y, (_, (rate, row)) in enumerate(chosen):
            span = _tflops(row, "time_high_us") or rate, _tflops(row, "time_low_us") or rate
            axis.plot(span, [y, y], color=INK, lw=1.2)
        few = f", the {len(chosen)} fastest of {len(best)}" if len(chosen) < len(best) else ""
        axis.set_xlabel(f"TFLOP/s (measured), best N, with 95 % interval{few}")
        axis.tick_params(axis="y", labelsize=8)
        legend_of_types(axis, [row for _, (_, row) in chosen])
        return svg(figure, "tiles", "Throughput by tile")


def roofline(rows: Sequence[Row]) -> str | None:
    """Draw measured TFLOP/s over arithmetic intensity under the probed peaks."""
    peaks = next((row["result"]["peaks"] for row in rows if row["result"].get("peaks")), None)

    def intensity(row: Row) -> float | None:
        flops, moved = number(row, "flops"), number(row, "bytes")
        return flops / moved if flops and moved else None

    def roof(axis: Any) -> None:
        if peaks:
            rate, bandwidth = float(peaks["flops_per_s"]), float(peaks["bytes_per_s"])
            knee = rate / bandwidth
            left, right = axis.get_xlim()
            xs = [min(left, knee / 4.0), knee, max(right, knee * 4.0)]
            axis.plot(xs, [min(rate, bandwidth * x) / 1e12 for x in xs], color=INK, lw=1.2)
            text = f"{rate / 1e12:.3g} TFLOP/s, {bandwidth / 1e9:,.0f} GB/s"
            axis.annotate(
                text,
                (knee, rate / 1e12),
                xytext=(0, 4),
                textcoords="offset points",
                fontsize=8,
            )

    labels = ("FLOP per byte of least traffic", "TFLOP/s (measured)")
    return scatter(rows, intensity, _tflops, labels, "roof", "Roofline", None, roof)


def counted_work(rows: Sequence[Row]) -> str | None:
    """Draw the FLOP that kernels were counted to do a byte: unique, and asked for."""
    counted = [
        {**row, "result": value}
        for row in rows
        if row["status"] == "ok"
        for name, value in row["result"].items()
        if name in (known := metrics_of(row["proto"])) and known[name].unit == COUNTS
    ]

    def flop_per(row: Row, loaded: str, stored: str) -> float | None:
        counts = row["result"]
        # Each of a simdgroup's 32 lanes counts the 1024 FLOP that they do together.
        flop = counts["matrix_operations"] * 32 + counts["float_operations"]
        return flop / (counts[loaded] + counts[stored] or 1)

    return scatter(
        counted,
        lambda row: flop_per(row, "unique_load_bytes", "unique_store_bytes"),
        lambda row: flop_per(row, "device_load_bytes", "device_store_bytes"),
        ("FLOP per unique device byte (counted)", "FLOP per byte asked for (counted)"),
        "work",
        "Counted work",
    )


def error_by_time(rows: Sequence[Row]) -> str | None:
    """Draw the error in ULP over the measured time."""
    return scatter(
        rows,
        lambda row: number(row, "time_us"),
        lambda row: number(row, "max_row_ulp"),
        ("time, us (measured)", "largest error, ULP of its row"),
        "error-time",
        "Error against time",
    )


def crossover(rows: Sequence[Row]) -> str | None:
    """Draw each search for a crossover: the ratio at the sizes probed, and where it passes 1."""
    searched = [row for row in rows if row["result"].get("probes")]
    if not searched:
        return None
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(WIDTH_IN, 3.6))
        axis.axhline(1.0, color=INK, lw=1)
        for i, (row, (name, _, _)) in enumerate(zip(searched, series_of(searched), strict=True)):
            result, colour = row["result"], colour_of(row)
            probes = result["probes"]
            sizes = [probe["N"] for probe in probes]
            name = f"{name} D{row['point']['D']}" if "D" in row["point"] else name
            axis.vlines(
                sizes, [p["low"] for p in probes], [p["high"] for p in probes], colour, lw=1.2
            )
            marks = axis.scatter(
                sizes,
                [p["ratio"] for p in probes],
                26,
                colour,
                marker=marker_of(i),
                label=name,
                lw=0,
            )
            marks.set_urls([link(row)] * len(sizes))
            if result["status"] == "bracketed":
                span = result["crossover_low"], result["crossover_high"]
                axis.axvspan(*span, color=colour, alpha=0.15, lw=0)
        axis.set_xlabel("N")
        axis.set_ylabel("time ratio (measured)")
        log_axes(axis)
        legend(axis)
        return svg(figure, "crossover", "Crossover of two kernels")


def pairs(rows: Sequence[Row]) -> str | None:
    """Draw the paired ratios of two choices with their intervals, beside the margin of equal."""
    paired = [row for row in rows if number(row, "ratio")]
    if not paired:
        return None
    # Where not all fit, those that differ most.
    apart = sorted(paired, key=lambda row: -abs(math.log(float(row["result"]["ratio"]))))
    chosen = sorted(apart[:_MOST_PAIRS], key=lambda row: float(row["result"]["ratio"]))
    few = len(chosen) < len(paired)
    shown = f"\nthe {len(chosen)} of {len(paired)} that differ most" if few else ""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(WIDTH_IN, 1.0 + 0.38 * len(chosen)))
        axis.axvspan(1.0 / (1.0 + _MARGIN), 1.0 + _MARGIN, color="#dddddd", lw=0)
        for y, row in enumerate(chosen):
            result = row["result"]
            colour = colour_of(row)
            axis.hlines(y, result["ratio_low"], result["ratio_high"], colour, lw=1.4)
            decided = result["verdict"] in _VERDICTS
            mark = axis.scatter(
                [result["ratio"]], [y], 26, colour if decided else "white",
                marker=_VERDICTS.get(result["verdict"], "o"), edgecolors=colour, linewidths=1.2,
            )  # fmt: skip
            mark.set_urls([link(row)])
            # Beside the axis the names would take half of a phone's width.
            place = axis.get_yaxis_transform()
            axis.text(0.0, y + 0.3, pair_name(row), transform=place, fontsize=8.5, color=INK)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.set_xlabel(f"time of the first / time of the second (measured){shown}")
        legend_of_types(axis, chosen)
        return svg(figure, "pairs", "Paired comparisons")


def pair_name(row: Row) -> str:
    """Name a pair's two sides and their problem."""
    point = row["point"]
    if "axis" in point:
        sides = f"{point['axis']} {point['a']} / {point['b']}"
    elif "way" in point:
        sides = f"{point.get('modification', '')} {point['way']} / inline"
    elif "a" in point:
        sides = f"{point['a']} / {point['b']}"
    else:
        sides = f"{point.get('variant', row['proto'])} / {point.get('against', 'base')}"
    size = " ".join(f"{name} {point[name]}" for name in ("page", "D", "Nkv", "N") if name in point)
    return f"{sides.strip()}, {point.get('dtype', '')} {size}".replace(",  ", ", ")


def surprises(rows: Sequence[Row]) -> str | None:
    """Draw measured times beside what a model of the device expected, those outside first."""
    both = [(row, *beside) for row in rows if (beside := _beside(row)) is not None]
    if not both:
        return None
    chosen = sorted(both, key=lambda one: (not one[2], abs(math.log(one[1]))))[-_MOST_PAIRS:]
    few = f", {len(chosen)} of {len(both)}" if len(chosen) < len(both) else ""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(WIDTH_IN, 1.0 + 0.38 * len(chosen)))
        axis.axvline(1.0, color=INK, lw=1)
        for y, (row, ratio, inside) in enumerate(chosen):
            result, point = row["result"], row["point"]
            middle = result["modelled_us"]
            span = (result[f"modelled_{end}_us"] / middle for end in ("low", "high"))
            axis.hlines(y, *span, SOFT, lw=4, alpha=0.5)
            shape = "o" if inside else "X"
            mark = axis.scatter([ratio], [y], 26, colour_of(row), marker=shape, lw=0)
            mark.set_urls([link(row)])
            tile = f"{tile_name(point)} " if "Br" in point else ""
            name = f"{tile}{point.get('dtype', '')} D {point.get('D')} N {_length(row) or 0:g}"
            place = axis.get_yaxis_transform()
            axis.text(0.0, y + 0.3, name, transform=place, fontsize=8.5, color=INK)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.set_xlabel(f"time measured / time modelled{few}")
        legend_of_types(axis, [row for row, _, _ in chosen])
        return svg(figure, "surprises", "Surprises")


def _beside(row: Row) -> tuple[float, bool] | None:
    return beside_expected(row["device"]["name"], row["result"])


def is_surprise(row: Row) -> bool:
    """True where a measured time lies outside what was expected before the run."""
    beside = _beside(row)
    return beside is not None and not beside[1]


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
        "Read from the pipelines; the limit is 32 KiB. Where it is 0, Q stays in device memory.",
        threadgroup_map,
        False,
    ),
    Chart(
        "Error against FP64",
        "Each point is one problem; correct rounding gives at most 0.5 ULP.",
        error_by_length,
        False,
    ),
    Chart(
        "Throughput",
        "Measured; the lines are what others published of an M4, D 64.",
        throughput,
        True,
    ),
    Chart("Throughput by tile", "Each tile at its best length.", throughput_by_tile, True),
    Chart(
        "Surprises",
        "Measured beside what a model of this device expected before the run. Crosses: outside its "
        "90 % interval, the grey bar, and first; dots: as expected.",
        surprises,
        True,
    ),
    Chart("Roofline", "The line is this device's own probed peaks.", roofline, True),
    Chart(
        "Roofline, counted",
        "Where a kernel stands on any device's roofline: exact counts, no times. What lies "
        "between the axes is read again from caches.",
        counted_work,
        False,
    ),
    Chart("Error against time", "Lower left is better.", error_by_time, True),
    Chart(
        "Paired comparisons",
        "A-B-B-A blocks. A triangle points left where the first is faster, right where the second "
        "is; squares are equal within the grey margin, rings undecided.",
        pairs,
        True,
    ),
    Chart(
        "Crossover",
        "Above 1 the second kernel is faster; the band is the interval of the crossing.",
        crossover,
        True,
    ),
)


def draw_charts(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Draw every chart that the rows have something for; emulated times are never drawn.

    Args:
        rows: Result rows.

    Returns:
        For each chart its title, note and SVG.
    """
    timed = [row for row in rows if is_measured(row)]
    drawn = ((chart, chart.draw(timed if chart.of_times else rows)) for chart in _CHARTS)
    return [
        {"title": chart.title, "note": chart.note, "svg": svg}
        for chart, svg in drawn
        if svg is not None
    ]

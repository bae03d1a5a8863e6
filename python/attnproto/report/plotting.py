"""What the charts of a report share: style, series, marks that link to their rows, SVG text."""

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
from matplotlib.ticker import FuncFormatter, LogLocator

Row = Mapping[str, Any]
INK, SOFT = "#111111", "#777777"
# Okabe and Ito's colours, which the colour-blind tell apart; one an element type, in all charts.
COLOURS = {"f16": "#0072b2", "bf16": "#009e73", "f32": "#d55e00"}
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Of a long sweep this many marks are drawn: more would hide one another.
MOST_MARKS = 400
_ENDINGS = {2: "nd", 3: "rd"}
WIDTH_IN = 5.2
STYLE = {
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
    """Return a row's result as a finite float, or None where it is none."""
    value = row["result"].get(name)
    # A prototype of one's own may mean something else by the name.
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def link(row: Row) -> str:
    """Return the address of a row in the page's table."""
    return f"#r-{row['key']}"


def svg(figure: Figure, name: str, title: str) -> str:
    """Close a figure and return it as SVG that fills whatever holds it.

    Args:
        figure: To be drawn.
        name: Tells the ids of one chart from another's on the same page.
        title: Read out in place of the picture.
    """
    buffer = io.StringIO()
    with plt.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # The page scales the picture, so its own size must not stand in the way.
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    # No target: a link leads within the page.
    rest = rest.replace(' target="_blank"', "")
    return f'{head} role="img" aria-label="{title}">{rest}'


def colour_of(row: Row) -> str:
    """Return the colour of a row's element type; grey where it has none of ours."""
    return COLOURS.get(str(row["point"].get("dtype", "")), SOFT)


def marker_of(place: int) -> str:
    """Return the marker of what is not told apart by its colour, by its place in a list."""
    return _MARKERS[place % len(_MARKERS)]


def plain(value: float) -> str:
    """Write a number on an axis: 1024 stands as 1k, 0.5 as it is."""
    for size, unit in ((1 << 20, "M"), (1 << 10, "k")):
        if value >= size and value % size == 0:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def log_axes(axis: Any) -> None:
    """Make both axes logarithmic with plain numbers, x in powers of two.

    Each has two numbers at least: what is drawn may all lie between two of them.
    """
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    _label(axis.xaxis, axis.get_xlim(), axis.set_xlim, 2, ((1.0,),))
    _label(axis.yaxis, axis.get_ylim(), axis.set_ylim, 10, ((1.0,), (1.0, 2.0, 5.0)))
    axis.yaxis.set_minor_formatter("")


def _label(
    side: Any,
    limits: tuple[float, float],
    widen: Callable[[float, float], Any],
    base: int,
    choices: Sequence[tuple[float, ...]],
) -> None:
    low, high = limits
    for subs in choices:
        first = math.floor(math.log(low, base))
        powers = range(first, math.ceil(math.log(high, base)) + 1)
        values = sorted(base**power * sub for power in powers for sub in subs)
        if sum(low <= value <= high for value in values) >= 2:
            break
    else:
        low = max(value for value in values if value <= low)
        high = min(value for value in values if value >= high)
        # A little more, so that rounding leaves no number outside.
        widen(low / 1.02, high * 1.02)
    side.set_major_locator(LogLocator(base=base, subs=subs))
    side.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def series_of(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Tell rows apart by prototype, device and dtype, as far as they differ.

    Args:
        rows: Result rows.

    Returns:
        For each its name, its colour, which is its dtype's, and its marker, which is that of
        prototype and device.
    """
    parts = [
        (row["proto"], row["device"]["name"], str(row["point"].get("dtype", ""))) for row in rows
    ]
    differing = [i for i in range(3) if len({part[i] for part in parts}) > 1] or [2]
    sources = sorted({part[:2] for part in parts})
    return [
        (
            " ".join(part[i] for i in differing).strip() or part[0],
            colour_of(row),
            marker_of(sources.index(part[:2])),
        )
        for part, row in zip(parts, rows, strict=True)
    ]


def legend_of_types(axis: Any, rows: Sequence[Row]) -> None:
    """Name the colours of the element types that rows have, above the axes."""
    types = {str(row["point"].get("dtype", "")) for row in rows}
    for name in (name for name in COLOURS if name in types):
        axis.scatter([], [], 26, COLOURS[name], label=name, lw=0)
    if axis.get_legend_handles_labels()[0]:
        legend(axis)


def legend(axis: Any) -> None:
    """Name the series above the axes, where no mark can lie under it."""
    axis.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, fontsize=9,
        columnspacing=1.2, handletextpad=0.2, borderpad=0.1,
    )  # fmt: skip


def scatter(
    rows: Sequence[Row],
    x: Callable[[Row], float | None],
    y: Callable[[Row], float | None],
    labels: tuple[str, str],
    name: str,
    title: str,
    interval: Callable[[Row], tuple[float, float]] | None = None,
    decorate: Callable[[Any], None] | None = None,
) -> str | None:
    """Draw a mark for each row that has both values, each a link to its row.

    Args:
        rows: Rows; an even selection of a long list is drawn.
        x: Horizontal value of a row, positive.
        y: Vertical value, positive.
        labels: Of the axes.
        name: Of the chart's ids.
        title: Of the chart.
        interval: Low and high of y.
        decorate: Adds to the axes.

    Returns:
        SVG, or None where no row has both values.
    """
    points = [(row, x(row), y(row)) for row in rows]
    points = [(row, a, b) for row, a, b in points if a and b and a > 0.0 and b > 0.0]
    if not points:
        return None
    step = -(-len(points) // MOST_MARKS)
    drawn = points[::step]
    series: dict[tuple[str, str, str], list[tuple[Row, float, float]]] = {}
    for of, point in zip(series_of([row for row, _, _ in drawn]), drawn, strict=True):
        series.setdefault(of, []).append(point)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(WIDTH_IN, 3.6))
        for (named, colour, marker), members in sorted(series.items()):
            plotted, xs, ys = zip(*members, strict=True)
            marks = axis.scatter(xs, ys, 26, colour, marker=marker, alpha=0.75, label=named, lw=0)
            marks.set_urls([link(row) for row in plotted])
            if interval is not None:
                low, high = zip(*(interval(row) for row in plotted), strict=True)
                axis.vlines(xs, low, high, colour, lw=1.2)
        axis.set_ylabel(labels[1])
        if decorate is not None:
            decorate(axis)
        log_axes(axis)
        if step > 1:
            every = f"{step}{_ENDINGS.get(step, 'th')}"
            labels = (f"{labels[0]}; every {every} of {len(points):,} rows", labels[1])
        axis.set_xlabel(labels[0])
        legend(axis)
        return svg(figure, name, title)

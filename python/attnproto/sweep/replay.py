"""The command that runs the points of many rows again, and no others."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attnproto.prototypes.registry import load
from attnproto.results.row import replay_command
from attnproto.results.store import plain

from .points import Point, SweepError, keep, parse_axis, vary

_MODES = ("quick", "full")
Axes = Mapping[str, list[Any]]


def replay_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the shell command that runs the points of rows again, and no others.

    It names the prototype's own points by conditions and axes where these lead to just the rows'
    points, and else writes the points out.

    Args:
        rows: At least one; of one prototype, mode and kind of device.
    """
    proto, mode, kind = rows[0]["proto"], rows[0]["mode"], rows[0]["device"]["kind"]
    wanted = list({_text(row["point"]): dict(row["point"]) for row in rows}.values())
    if len(wanted) == 1:
        return replay_command(proto, wanted[0], mode, kind)
    for listing in sorted(_MODES, key=lambda name: name != mode):
        own = load(proto).points(listing)
        for axes, where in _ways(own, wanted):
            if _leads_to(own, axes, where, wanted):
                words = [word for name in axes for word in ("--axis", _axis(name, axes[name]))]
                words += [word for text in where for word in ("--where", text)]
                words += ["--protocol", mode] if listing != mode else []
                begin = f"attnproto run --only {proto} --device {kind} --{listing}"
                return " ".join([begin, *map(shlex.quote, words)])
    return replay_command(proto, wanted, mode, kind)


def _ways(own: Sequence[Point], wanted: Sequence[Point]) -> Iterator[tuple[Axes, list[str]]]:
    """Axes and conditions that may lead from a prototype's own points to those wanted."""
    kinds = _values(wanted, "kind")
    of_kinds = [point for point in own if not kinds or point.get("kind") in kinds]
    by_kind = [_among("kind", kinds)] if kinds else []
    yield {}, by_kind
    names = [name for name in dict.fromkeys(n for point in wanted for n in point) if name != "kind"]
    asked = {name: _values(wanted, name) for name in names}
    known = {name: _values(of_kinds, name) for name in names}
    new = {name: asked[name] for name in names if not _within(asked[name], known[name])}
    fewer = [name for name in names if name not in new and len(asked[name]) < len(known[name])]
    yield new, by_kind
    yield new, [*by_kind, *(_among(name, asked[name]) for name in fewer)]


def _leads_to(own: Sequence[Point], axes: Axes, where: list[str], wanted: Sequence[Point]) -> bool:
    try:
        read = dict(parse_axis(_axis(name, values)) for name, values in axes.items())
        points = keep(vary(own, read), where)
    except SweepError:  # a name or a value that the command line can't say
        return False
    return {_text(point) for point in points} == {_text(point) for point in wanted}


def _values(points: Sequence[Point], name: str) -> list[Any]:
    """The values that a key takes, each once."""
    return list({_text(point[name]): point[name] for point in points if name in point}.values())


def _within(some: list[Any], others: list[Any]) -> bool:
    return {_text(value) for value in some} <= {_text(value) for value in others}


def _among(name: str, values: list[Any]) -> str:
    said = [json.dumps(v, ensure_ascii=False) if isinstance(v, str) else repr(v) for v in values]
    return f"{name} == {said[0]}" if len(said) == 1 else f"{name} in ({', '.join(said)})"


def _axis(name: str, values: list[Any]) -> str:
    words = (value if isinstance(value, str) else json.dumps(plain(value)) for value in values)
    return f"{name}={','.join(words)}"


def _text(value: Any) -> str:
    return json.dumps(plain(value), sort_keys=True)

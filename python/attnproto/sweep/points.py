"""Sweeps: axes, fixed values and conditions, expanded to points. No files, no devices."""

from __future__ import annotations

import ast
import itertools
import json
import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attnproto.errors import AttnprotoError
from attnproto.results.store import is_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Point = dict[str, Any]
_SHOWN = 200  # characters of what was given, in a message
_MOST_POINTS = 1_000_000


class SweepError(AttnprotoError, ValueError):
    """A sweep's text or a condition says something that cannot be followed."""


_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


def _computed(op: ast.operator, left: Any, right: Any) -> Any:
    """Of numbers only: a text times a number, or formatted, may fill any memory."""
    for operand in (left, right):
        if not isinstance(operand, (int, float, Missing)):
            raise TypeError(f"{type(operand).__name__} is no number")
    return _BINARY[type(op)](left, right)


def condition(text: str) -> Callable[[Mapping[str, Any]], bool]:
    """Compile a condition on a point's values, such as ``Br * D <= 4096 and dtype == 'f16'``.

    Names are the point's keys; comparisons, ``and``, ``or``, ``not``, ``in``, ``+ - * // %``,
    literals and tuples are understood, nothing else. No code is run.

    Args:
        text: The condition.

    Returns:
        A function of a point.

    Raises:
        SweepError: The text is not such a condition; or, when called, it names a key that
            the point lacks.
    """
    if not isinstance(text, str):
        raise SweepError(f"[sweep.condition] found {text!r}, needs text; write D == 64 in quotes")
    said = repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
    try:
        body = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = getattr(error, "msg", None) or error or "it is too deep"
        raise SweepError(
            f"[sweep.condition] found {said} ({why}), needs a condition; write for example D == 64"
        ) from error

    def value(node: ast.expr, point: Mapping[str, Any]) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                if node.id not in point:
                    raise SweepError(
                        f"[sweep.condition] found the name {node.id!r} in {said}, needs one of "
                        f"{', '.join(sorted(point))}; correct the name"
                    )
                return point[node.id]
            case ast.Tuple() | ast.List():
                return tuple(value(item, point) for item in node.elts)
            case ast.BoolOp(op=ast.And()):
                return all(value(item, point) for item in node.values)
            case ast.BoolOp(op=ast.Or()):
                return any(value(item, point) for item in node.values)
            case ast.UnaryOp(op=ast.Not()):
                return not value(node.operand, point)
            case ast.UnaryOp(op=ast.USub()):
                return -value(node.operand, point)
            case ast.BinOp() if type(node.op) in _BINARY:
                return _computed(node.op, value(node.left, point), value(node.right, point))
            case ast.Compare() if all(type(op) in _COMPARE for op in node.ops):
                items = [value(item, point) for item in (node.left, *node.comparators)]
                return all(
                    _COMPARE[type(op)](left, right)
                    for op, left, right in zip(node.ops, items, items[1:], strict=False)
                )
        raise SweepError(
            f"[sweep.condition] found {ast.unparse(node)[:_SHOWN]!r} in {said}, needs comparisons "
            "of names and literals; simplify it"
        )

    def holds(point: Mapping[str, Any]) -> bool:
        try:
            return bool(value(body, point))
        except (TypeError, ArithmeticError, RecursionError) as error:
            raise SweepError(
                f"[sweep.condition] found {said} cannot be computed ({error}), needs values "
                "that compare; correct the condition"
            ) from error

    return holds


@dataclass(frozen=True)
class Sweep:
    """A prototype's points as the product of axes, less those a condition refuses."""

    prototype: str
    axes: Mapping[str, Sequence[Any]]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    where: tuple[str, ...] = ()

    def points(self) -> list[Point]:
        """Expand to points, the last axis varying fastest."""
        tests = [condition(text) for text in self.where]
        _check_count(1, self.axes)
        product = itertools.product(*self.axes.values())
        points = [{**self.fixed, **dict(zip(self.axes, values, strict=True))} for values in product]
        return [point for point in points if all(test(point) for test in tests)]


def keep(points: Iterable[Point], where: Sequence[str]) -> list[Point]:
    """Return the points that every condition accepts; a point lacking a named key is refused."""
    tests = [condition(text) for text in where]
    points = list(points)
    known = {key for point in points for key in point}
    kept = []
    for point in points:
        # A key that other points have is missing here, not misspelt: the point is not meant.
        padded = {**dict.fromkeys(known, Missing()), **point}
        if all(test(padded) for test in tests):
            kept.append(point)
    return kept


def parse_axis(text: str) -> tuple[str, list[Any]]:
    """Read an axis of the command line, such as ``D=64,128`` or ``dtype=f16,f32``.

    Values are numbers, ``true``, ``false`` or ``null`` where they read as such, else words.

    Raises:
        SweepError: There is no name or no value.
    """
    name, equals, values = text.partition("=")
    words = [word.strip() for word in values.split(",")]
    if not equals or not name.strip() or not all(words):
        raise SweepError(
            f"[sweep] found --axis {text[:_SHOWN]!r}, needs a name and values; write "
            "--axis D=64,128"
        )
    return name.strip(), [_literal(word) for word in words]


def _literal(word: str) -> Any:
    try:
        return json.loads(word)
    except (ValueError, RecursionError):
        return word


def vary(points: Iterable[Point], axes: Mapping[str, Sequence[Any]]) -> list[Point]:
    """Put every combination of the axes' values into every point; equal results stand once."""
    points = list(points)
    _check_count(len(points), axes)
    combinations = [
        dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
    ]
    varied: dict[str, Point] = {}
    for point in points:
        for values in combinations:
            fresh = {**point, **values}
            varied.setdefault(json.dumps(fresh, sort_keys=True), fresh)
    return list(varied.values())


def _check_count(points: int, axes: Mapping[str, Sequence[Any]]) -> None:
    count = points * math.prod(len(values) for values in axes.values())
    if count > _MOST_POINTS:
        raise SweepError(
            f"[sweep] found axes that make {count} points, needs at most {_MOST_POINTS}; "
            "drop values"
        )


def check_points(
    prototype: str, points: Sequence[Point], own: Sequence[Point], more: Iterable[str]
) -> None:
    """See that points have the keys that the prototype's own points of their kind have.

    A misspelt key would otherwise be passed over in silence, and its axis be no axis.

    Args:
        prototype: Its name, for the message.
        points: Points to be run.
        own: The prototype's own points; without kinds there is nothing to check by.
        more: Keys that a point may have beyond those of its kind.

    Raises:
        SweepError: A kind is unknown, a key is missing or unknown.
    """
    for point in points:
        for name, value in point.items():
            _check_value(prototype, name, value)
    kinds: dict[str, set[str]] = {}
    for point in own:
        if "kind" not in point:
            return
        kinds.setdefault(point["kind"], set(point)).intersection_update(point)
    known = set(more).union(*own)
    for point in points:
        kind = point.get("kind")
        if kind not in kinds:
            raise SweepError(
                f"[sweep] found a {prototype} point of kind {kind!r}, needs one of "
                f"{', '.join(kinds)}; set kind"
            )
        needed = kinds[kind]
        for problem, names, good in (
            ("no", needed - set(point), needed),
            ("the unknown", set(point) - known, known),
        ):
            if names:
                raise SweepError(
                    f"[sweep] found {problem} {', '.join(sorted(names))} in a {prototype} point of "
                    f"kind {kind}, needs names of {', '.join(sorted(good))}; correct it"
                )


def _check_value(prototype: str, name: str, value: Any) -> None:
    """See that a row can hold a point's value, and that a file can."""
    fits = value is None or isinstance(value, (bool, int, float, str))
    if isinstance(value, float):
        fits = math.isfinite(value)
    if not fits or not is_text(f"{name}{value}"):
        raise SweepError(
            f"[sweep] found {name[:_SHOWN]!a} = {str(value)[:_SHOWN]!a} in a {prototype} point, "
            "needs a finite number, a text, true, false or null; correct it"
        )


class Missing:
    """The value of a key that a point lacks: equal to nothing, below and above nothing."""

    def _never(self, _other: object) -> bool:
        return False

    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = _never
    __hash__ = None  # type: ignore[assignment]

    def _stays(self, _other: object) -> Missing:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _stays
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _stays


def parse_sweep(text: str) -> list[Sweep]:
    """Read sweeps from TOML.

    Each ``[[sweep]]`` has ``prototype``, a table ``axes`` of lists, and may have a table
    ``fixed`` and a list ``where`` of conditions.

    Args:
        text: TOML.

    Returns:
        The sweeps in order.

    Raises:
        SweepError: Not TOML, or a key missing, unknown or of the wrong kind.

    Examples:
        >>> text = '[[sweep]]\\nprototype = "flash"\\naxes = {D = [64, 128]}'
        >>> parse_sweep(text)[0].points()
        [{'D': 64}, {'D': 128}]
    """
    try:
        tables = tomllib.loads(text).get("sweep")
    except (ValueError, RecursionError) as error:
        raise SweepError(
            f"[sweep] found a text that is not TOML ({error}), needs TOML; correct that line"
        ) from error
    if not isinstance(tables, list) or not tables:
        raise SweepError("[sweep] found no sweep, needs at least one; add a table [[sweep]]")
    return [_sweep(number, table) for number, table in enumerate(tables, start=1)]


def _sweep(number: int, table: Mapping[str, Any]) -> Sweep:
    if not isinstance(table, dict):
        raise SweepError(
            f"[sweep {number}] found {str(table)[:_SHOWN]!r}, needs a table; write [[sweep]]"
        )
    kinds = {"prototype": str, "axes": dict, "fixed": dict, "where": list}
    for key, value in table.items():
        if key not in kinds or not isinstance(value, kinds[key]):
            raise SweepError(
                f"[sweep {number}] found {key} = {repr(value)[:_SHOWN]}, needs only prototype "
                "(text), axes (table of lists), fixed (table) and where (list of texts); correct "
                "the key"
            )
    for key in ("prototype", "axes"):
        if key not in table:
            raise SweepError(f"[sweep {number}] found no {key}, needs one; add {key} = ...")
    for name, values in table["axes"].items():
        if not isinstance(values, list) or not values:
            raise SweepError(
                f"[sweep {number}] found axis {name} = {repr(values)[:_SHOWN]}, needs a list with "
                f"values; write {name} = [64, 128]"
            )
    return Sweep(
        table["prototype"], table["axes"], table.get("fixed", {}), tuple(table.get("where", ()))
    )

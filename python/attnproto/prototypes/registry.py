"""The eight prototypes: what each asks, and where its module is."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from attnproto.errors import AttnprotoError
from attnproto.results.metrics import METRICS, Metric

if TYPE_CHECKING:
    from attnproto.results.findings import Finding
    from attnproto.results.tables import SideBySide, Table

OK, WRONG = "ok", "wrong"


class UnknownPrototype(AttnprotoError, ValueError):
    """A name that none of the eight prototypes bears."""


@dataclass(frozen=True)
class Entry:
    """A line of the registry."""

    number: int
    name: str
    question: str


REGISTRY: tuple[Entry, ...] = (
    Entry(1, "flash", "Which simdgroup_matrix tile serves flash attention on M4?"),
    Entry(2, "stitch", "What does a stitched function cost in the attention loop?"),
    Entry(3, "paged", "Does paged attention fit 32 KB of threadgroup memory, at what cost?"),
    Entry(4, "constants", "What do function-constant variants cost to compile and to archive?"),
    Entry(5, "cubecl", "How good is the MSL that CubeCL generates?"),
    Entry(6, "linear", "From which length on does linear attention win over softmax?"),
    Entry(7, "variants", "What do RoPE, ALiBi and GQA add to the base kernel?"),
    Entry(8, "burn", "Can Burn take these kernels by an extension trait?"),
)


@dataclass(frozen=True)
class Outcome:
    """What running one point gave.

    ``status`` is ``"ok"`` or ``"wrong"`` (the output missed its tolerance); ``reason`` says
    why it is not ok; ``result`` has the point's numbers under names with unit suffixes.
    """

    status: str = OK
    reason: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prototype:
    """One prototype: its points, how to run one, and what the rows allow to conclude.

    Args:
        name: As in the registry.
        points: ``f(mode)`` lists the points of ``"quick"`` or ``"full"``.
        run: ``f(point, device, mode)`` runs one of the points on an open device, in ``"quick"``
            or ``"full"`` mode, and returns status and numbers; raises AttnprotoError when it
            cannot.
        conclude: ``f(rows)`` turns stored rows into findings by written rules.
        kernel_hash: ``f(point)`` hashes the kernel text behind a point, so that findings
            from an older text are known to be stale; None when no kernel is behind it.
        missing: ``f()`` says what the prototype lacks on this machine, empty when nothing.
        axes: Keys that a point may have beyond those of the points that ``points`` lists.
        examples: A point of each kind that is run only when it is asked for and ``points`` leaves
            out; by these such points are checked.
        prepare: ``f(say)`` gets what can be got of it, or is no longer current, before a run;
            it tells ``say`` before that takes long.
        sections: ``f(rows)`` makes what a report shows of one device's rows beside the findings.
        metrics: What its results hold beyond the names that all prototypes share.
        point_s: About how many seconds a quick point takes two processors, by which a run begins
            with what is over soonest.
        unmodelled: By kind of point that is timed, why the model of an M4 expects no time of it.
    """

    name: str
    points: Callable[[str], list[dict[str, Any]]]
    run: Callable[[dict[str, Any], Any, str], Outcome]
    conclude: Callable[[Sequence[Mapping[str, Any]]], list[Finding]]
    kernel_hash: Callable[[Mapping[str, Any]], str] | None = None
    missing: Callable[[], str] | None = None
    axes: tuple[str, ...] = ()
    examples: Sequence[dict[str, Any]] = ()
    prepare: Callable[[Callable[[str], None]], None] | None = None
    sections: Callable[[Sequence[Mapping[str, Any]]], Sequence[Table | SideBySide]] | None = None
    metrics: tuple[Metric, ...] = ()
    point_s: float = 1.0
    unmodelled: Mapping[str, str] = field(default_factory=dict)

    def known_points(self, mode: str) -> list[dict[str, Any]]:
        """Points of every kind that there is, by which those of others are checked."""
        return [*self.points(mode), *self.examples]

    def answer(self, point: dict[str, Any], device: Any, mode: str) -> Outcome:
        """Run a point, and say why no time of it is expected where that is so.

        Raises:
            AttnprotoError: As ``run``.
        """
        from attnproto.model.launches import refused_result

        outcome = self.run(point, device, mode)
        why = self.unmodelled.get(point.get("kind", ""))
        if why is None or outcome.status != OK:
            return outcome
        return replace(outcome, result={**outcome.result, **refused_result([why])})


def entry(name: str) -> Entry:
    """Return the registry's line of a name.

    Raises:
        UnknownPrototype: No prototype is called so.
    """
    for line in REGISTRY:
        if line.name == name:
            return line
    raise UnknownPrototype(
        f"[prototypes] found prototype {name!r}, needs one of "
        f"{', '.join(line.name for line in REGISTRY)}; choose from --list"
    )


def load(name: str) -> Prototype:
    """Import a prototype.

    Args:
        name: One of the eight; or ``"module:ATTRIBUTE"`` for one of one's own.

    Raises:
        UnknownPrototype: No such name.
    """
    if ":" in name:
        module, attribute = name.split(":", 1)
        try:
            prototype = getattr(importlib.import_module(module), attribute)
            if not isinstance(prototype, Prototype):
                raise TypeError(f"it is a {type(prototype).__name__}")
        except Exception as error:  # whatever a module of one's own does as it is imported
            raise UnknownPrototype(
                f"[prototypes] found no prototype {name!r} ({error}), needs module:ATTRIBUTE; "
                "check the name and PYTHONPATH"
            ) from error
        return prototype
    return importlib.import_module(f"{__package__}.{entry(name).name}.prototype").PROTOTYPE


def text_hash(name: str, point: Mapping[str, Any]) -> str | None:
    """Hash today's kernel text behind a point; None when no kernel is behind it.

    Raises:
        AttnprotoError: As the prototype's ``kernel_hash``, such as where it is not built here.
    """
    current = load(name).kernel_hash
    return None if current is None else current(point)


def known_text_hash(name: str, point: Mapping[str, Any]) -> str | None:
    """As ``text_hash``; None where it can't be told here too, for any point whatever."""
    try:
        return text_hash(name, point)
    except Exception:  # a prototype's own code meets a point that may be none of its own
        return None


def text_changed(row: Mapping[str, Any]) -> bool:
    """Say whether a row was made with another kernel text than today's.

    A row that does not name its text was; one whose text can't be told here was not.
    """
    today = known_text_hash(row["proto"], row["point"])
    return today is not None and row["result"].get("kernel_hash") != today


def metrics_of(name: str) -> Mapping[str, Metric]:
    """Return what the results of a prototype may hold, by name.

    Args:
        name: As ``load`` takes it; of one that cannot be imported here, what all share.
    """
    if ":" not in name:
        return METRICS
    try:
        return METRICS | {metric.name: metric for metric in load(name).metrics}
    except UnknownPrototype:
        return METRICS

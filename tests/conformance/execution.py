"""Layers 2 and 3: kernels run against FP64, and again under validation."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import attnproto
from attnproto.errors import AttnprotoError, GpuFault, ValidationError

from .case import Case

AGREES, NOT_RUN, CLEAN, EXPECTED = "agrees", "not run", "clean", "a right report"


@dataclass(frozen=True)
class Executed:
    """What became of a case.

    Attributes:
        project: whose kernel it is.
        name: the case's.
        fp64: ``AGREES``, ``NOT_RUN``, or what was wrong.
        validated: ``CLEAN``, ``EXPECTED``, or what was wrong; empty: it was not tried.
        report: what validation reported, where a report was expected, and why it is right.
    """

    project: str
    name: str
    fp64: str
    validated: str = ""
    report: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing stands against it."""
        return self.fp64 in (AGREES, NOT_RUN) and self.validated in ("", CLEAN, EXPECTED)

    def pack(self) -> dict:
        """As JSON's types."""
        return asdict(self)


def run_case(
    case: Case, device: attnproto.Device, validating: attnproto.Device | None = None
) -> Executed:
    """Run a case, and under validation where a device for that is given."""
    unsafe = case.finding is not None and case.finding.unsafe
    fp64 = NOT_RUN if unsafe else _compared(case, device)
    if validating is None:
        return Executed(case.project, case.name, fp64)
    validated, report = _validated(case, validating)
    return Executed(case.project, case.name, fp64, validated, report)


def _compared(case: Case, device: attnproto.Device) -> str:
    try:
        case.check(device)
    except AssertionError as error:
        return " ".join(str(error).split())[:300]
    except (AttnprotoError, GpuFault) as error:
        return f"{type(error).__name__}: {error}"
    return AGREES


def _validated(case: Case, device: attnproto.Device) -> tuple[str, str]:
    try:
        case.check(device)
    except ValidationError as error:
        if case.finding and error.kind == case.finding.kind:
            return EXPECTED, f"{error.kind}: {case.finding.reason}"
        return str(error), ""
    except AssertionError as error:
        return " ".join(str(error).split())[:300], ""
    except AttnprotoError as error:
        return f"{type(error).__name__}: {error}", ""
    if case.finding:
        return f"clean, where {case.finding.kind} was expected", ""
    return CLEAN, ""

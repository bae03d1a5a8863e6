"""Where the model may give a number, where only a bound, and which line of it says so."""

from __future__ import annotations

from dataclasses import dataclass

from .work import Work

LEAST_D, LARGEST_D, LEAST_N = 32, 192, 2048
REGISTERS, INSTRUCTIONS = 128, 6000
_LOADS = (0.8, 1.3)
# Of other issue for each product, half of its own; published kernels have up to 5.
_OTHER_CYCLES = 9
MASKED = "mask: found causal, needs none, as published times; threadgroups would differ in work"
# Classes of kernels whose times were published.
DIRECT, STAGED = "direct", "staged"
SMALL_D, LARGE_D, SHORT = "direct, small D", "direct, large D", "direct, short"


@dataclass(frozen=True)
class Attention:
    """The problem that a launch computes, and how its keys come in.

    Attributes:
        n: Queries or keys of a head, the fewer.
        d: Dimensions of a head.
        way: ``direct`` from device memory or ``staged`` through threadgroup memory; another word
            for what no published kernel does.
        causal: Whether a mask hides later keys, which no published kernel had.
    """

    n: int
    d: int
    way: str
    causal: bool = False

    @property
    def kind(self) -> str | None:
        """Its class; none where nobody published times of one."""
        if self.way != DIRECT:
            return STAGED if self.way == STAGED else None
        if self.n < LEAST_N:
            return SHORT
        if self.d < LEAST_D:
            return SMALL_D
        return LARGE_D if self.d > LARGEST_D else DIRECT


def problem_refusals(attention: Attention | None) -> tuple[str, ...]:
    """Return the lines that a problem does not meet, whatever kernel computes it.

    Args:
        attention: The problem; None for a kernel that is no attention.
    """
    lines = []
    if attention is None or attention.kind is None:
        way = "no attention" if attention is None else f"keys read {attention.way}"
        lines.append(f"kernel: found {way}, published times are of attention, direct or staged")
    if attention is not None:
        if not LEAST_D <= attention.d <= LARGEST_D or attention.d % 8:
            lines.append(
                f"D: found {attention.d}, needs a multiple of 8 from {LEAST_D} to {LARGEST_D}"
            )
        if attention.n < LEAST_N:
            lines.append(f"N: found {attention.n}, needs at least {LEAST_N}")
        if attention.causal:
            lines.append(MASKED)
    return tuple(lines)


def _registers(work: Work) -> str:
    """How many are live, and in whose IR."""
    known = work.registers_by_front_end.items()
    return " and ".join(f"{n} live in {name}'s IR" for name, n in sorted(known)) or (
        f"{work.live_registers} live"
    )


def refusals(work: Work, attention: Attention | None) -> tuple[str, ...]:
    """Return why no number may be given, a sentence for each line of the scope that is not met.

    Args:
        work: What the launch does.
        attention: The problem; None for a kernel that is no attention.
    """
    lines = list(problem_refusals(attention))
    if work.live_registers >= REGISTERS:
        lines.append(f"registers: found {_registers(work)}, needs fewer than {REGISTERS}")
    if not work.code_instructions:
        lines.append("counts: found closed forms alone, needs instructions counted from the code")
    if work.code_instructions > INSTRUCTIONS:
        lines.append(
            f"code: found {work.code_instructions} instructions, needs at most {INSTRUCTIONS}"
        )
    if not _LOADS[0] <= work.loads_per_product <= _LOADS[1]:
        lines.append(
            f"fragments: found {work.loads_per_product:.2g} loads a matrix product, needs about one"
        )
    other = work.other_issue_cycles / (work.matrix_products or 1)
    if other > _OTHER_CYCLES:
        lines.append(
            f"instructions: found {other:.2g} cycles of others a matrix product, needs at most "
            f"{_OTHER_CYCLES}"
        )
    return tuple(lines)

"""The rule that gives a finding its confidence."""

from __future__ import annotations

from typing import Literal

from attnproto.errors import AttnprotoError

Tier = Literal["measured", "emulated", "derived", "modelled", "published"]
Kind = Literal["performance", "correctness", "accuracy", "count", "budget", "cost"]
# What a tier can at most support, before spread and width lower it.
_CAP_DERIVED = 0.95
_CAP_MEASURED = 0.95
_CAP_MEASURED_ABOUT_OTHER = 0.6
_CAP_EMULATED = 0.8
_CAP_PUBLISHED = 0.8
_CAP_MODELLED = 0.5
# From here on a finding is "high" or "verified".
HIGH = 0.8


class FindingForbidden(AttnprotoError):
    """The evidence does not allow the claim at all."""


def compute_confidence(
    tier: Tier,
    kind: Kind,
    *,
    gate_passed: bool | None = True,
    about_measured_device: bool = True,
    cv: float | None = None,
    relative_half_width: float | None = None,
    n: int | None = None,
) -> float:
    """Compute a finding's confidence from its evidence; nobody types it.

    The rule. A failed or missing correctness gate forbids the finding. The tier caps it:
    derived 0.95; measured 0.95 about the device measured, 0.6 about another; emulated 0.8
    for results and accuracy, and no performance claim at all; published 0.8; modelled 0.5.
    For performance and cost, a CV of 5 % or more caps it at 0.7, of 10 % at 0.5, of 20 % at
    0.3; fewer than 10 samples cap it at 0.7; and it falls by the share that half the
    interval is of the value, when that exceeds 5 %.

    Args:
        tier: Where the evidence comes from.
        kind: What is claimed.
        gate_passed: Whether the kernel's output was right; None when never judged.
        about_measured_device: False for a claim about a GPU other than the one measured.
        cv: Coefficient of variation of the samples, as a fraction.
        relative_half_width: Half the interval divided by the value.
        n: Samples.

    Returns:
        Between 0 and 0.95, to 2 decimals.

    Raises:
        FindingForbidden: A failed gate, a performance claim from emulation, or a measured
            performance claim without its CV.
    """
    if gate_passed is not True:
        outcome = "a failed" if gate_passed is False else "no"
        raise FindingForbidden(
            f"[findings] found {outcome} correctness check, needs a passed one; "
            "make the kernel right first"
        )
    timed = kind in ("performance", "cost")
    if timed and tier == "emulated":
        raise FindingForbidden(
            "[findings] found an emulated time behind a claim about speed, needs a measured "
            "one; run the point on a GPU"
        )
    if timed and tier == "measured" and (cv is None or n is None):
        raise FindingForbidden(
            "[findings] found a measured time without its CV and sample count, needs both; "
            "summarise the samples first"
        )
    cap = {
        "derived": _CAP_DERIVED,
        "measured": _CAP_MEASURED if about_measured_device else _CAP_MEASURED_ABOUT_OTHER,
        "emulated": _CAP_EMULATED,
        "published": _CAP_PUBLISHED,
        "modelled": _CAP_MODELLED,
    }[tier]
    if timed:
        for limit, lowered in ((0.05, 0.7), (0.10, 0.5), (0.20, 0.3)):
            if cv is not None and cv >= limit:
                cap = min(cap, lowered)
        if n is not None and n < 10:
            cap = min(cap, 0.7)
        if relative_half_width is not None and relative_half_width > 0.05:
            cap *= max(0.0, 1.0 - relative_half_width)
    return round(cap, 2)


def confidence_word(confidence: float) -> str:
    """Turn a number into the knowledge base's word for it."""
    for limit, word in ((0.9, "verified"), (HIGH, "high"), (0.6, "medium"), (0.4, "low")):
        if confidence >= limit:
            return word
    return "unverified"

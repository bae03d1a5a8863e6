"""Findings: claims with their evidence, and the rule that gives each its confidence."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from attnproto.errors import AttnprotoError

from .confidence import Kind, Tier, compute_confidence
from .published import is_m4
from .store import content_key, read_records, write_atomically

SKILLS = (
    "gpu-silicon",
    "unified-memory",
    "metal-compute",
    "msl-kernels",
    "gpu-io",
    "gpu-perf",
    "simd-wave",
    "mlx-compute",
    "metal4-api",
    "gpu-distributed",
    "gpu-centric-arch",
)
Skill = Literal[SKILLS]  # type: ignore[valid-type]


class Effect(BaseModel):
    """The number a finding is about, with its interval where it has one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None


class Evidence(BaseModel):
    """What a finding rests on.

    ``rows`` are keys of result rows; ``compared`` says what with what, ``regime`` over which
    sizes, ``overturned_by`` what observation would make the claim false.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    compared: str
    regime: str
    overturned_by: str
    rows: tuple[str, ...] = Field(min_length=1)
    effect: Effect | None = None
    n: int | None = None
    cv: float | None = None
    kernel_hash: str | None = None


class Device(BaseModel):
    """The device a finding was made on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    name: str

    @property
    def is_m4(self) -> bool:
        """True for a plain M4, the project's target; M4 Pro and Max are other GPUs."""
        return self.kind == "metal" and is_m4(self.name)


class Finding(BaseModel):
    """One claim, in the knowledge base's six keys followed by what supports it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domain: Skill
    title: str = Field(min_length=1)
    content: str = Field(min_length=1)
    tags: tuple[str, ...]
    confidence: float = Field(ge=0.0, le=1.0)
    source: str = Field(min_length=1)
    id: str = ""
    topic: str = Field(min_length=1)
    tier: Tier
    device: Device
    proto: str
    evidence: Evidence
    replay: str
    supersedes: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_id(cls, data: Any) -> Any:
        if isinstance(data, dict):
            expected = finding_id(data)
            if data.get("id") not in (None, "", expected):
                raise ValueError(f"id {data['id']} is not that of the content, {expected}")
            return {**data, "id": expected}
        return data

    @model_validator(mode="after")
    def _tags_are_words(self) -> Finding:
        # The knowledge base joins tags by commas, so a comma would split one in two.
        for tag in self.tags:
            if not tag or "," in tag or tag != tag.strip():
                raise ValueError(f"tag {tag!r} is empty, padded or holds a comma")
        return self


def finding_id(data: dict[str, Any]) -> str:
    """Name a finding by its content, so that emitting it twice is emitting it once.

    The name has letters and digits only: full-text search keeps it whole.
    """
    device = data["device"]
    device = device.model_dump() if isinstance(device, BaseModel) else device
    named = {key: data[key] for key in ("domain", "title", "content", "tier", "proto")}
    return "ap" + content_key({**named, "device": device})


def make_finding(
    *,
    domain: str,
    topic: str,
    title: str,
    content: str,
    tags: Sequence[str],
    tier: Tier,
    device: Device,
    proto: str,
    evidence: Evidence,
    replay: str = "",
    gate_passed: bool | None = True,
    about_measured_device: bool = True,
) -> Finding:
    """Build a finding, its confidence computed and its conditions written into its text.

    Args:
        domain: One of the eleven skills.
        topic: A stable name within the prototype; a later run's finding of the same topic
            and device supersedes this one.
        title: The claim in a line.
        content: The claim in full; device, regime and what would overturn it are added.
        tags: Without commas.
        tier: Where the evidence comes from.
        device: The device it was made on.
        proto: The prototype's name.
        evidence: What it rests on.
        replay: A command that runs the evidence again; filled in from its rows by who draws
            findings (commands.conclude).
        gate_passed: Whether the outputs behind it were right.
        about_measured_device: False for a claim about another GPU.

    Returns:
        The finding.

    Raises:
        FindingForbidden: The rule of ``compute_confidence`` forbids it.
    """
    effect = evidence.effect
    width = None
    if effect and effect.low is not None and effect.high is not None and effect.value:
        width = abs(effect.high - effect.low) / abs(2.0 * effect.value)
    confidence = compute_confidence(
        tier,
        evidence.kind,
        gate_passed=gate_passed,
        about_measured_device=about_measured_device,
        cv=evidence.cv,
        relative_half_width=width,
        n=evidence.n,
    )
    where = f"Device: {device.name} ({device.kind}), tier {tier}."
    text = (
        f"{content} Compared: {evidence.compared}. Regime: {evidence.regime}. {where} "
        f"Overturned by: {evidence.overturned_by}."
    )
    return Finding(
        domain=domain,
        title=title,
        content=text,
        tags=tuple(tags),
        confidence=confidence,
        source=f"attnproto {proto}, {device.name} ({tier})",
        topic=topic,
        tier=tier,
        device=device,
        proto=proto,
        evidence=evidence,
        replay=replay,
    )


def merge_findings(old: Iterable[Finding], new: Iterable[Finding]) -> list[Finding]:
    """Add new findings to old ones: the same id once, a changed claim superseding its past.

    Two findings are about the same thing when prototype, topic and device agree.
    """
    merged = {finding.id: finding for finding in old}
    latest = {_subject(finding): finding for finding in merged.values()}
    for finding in new:
        before = latest.get(_subject(finding))
        if before is not None and before.id != finding.id and finding.id not in merged:
            finding = finding.model_copy(update={"supersedes": before.id})
        if finding.id not in merged:
            merged[finding.id] = finding
        latest[_subject(finding)] = finding
    return list(merged.values())


def current_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return those that no other one supersedes, in their order."""
    findings = list(findings)
    superseded = {finding.supersedes for finding in findings}
    return [finding for finding in findings if finding.id not in superseded]


def _subject(finding: Finding) -> tuple[str, str, str, str]:
    return finding.proto, finding.topic, finding.device.kind, finding.device.name


def read_findings(path: Path | str) -> list[Finding]:
    """Read a findings file.

    Args:
        path: The file, which is written in one step; a missing one has no findings.

    Raises:
        AttnprotoError: A line is not a finding, and the message names it; or the file was cut off.
    """
    from pydantic import ValidationError

    findings = []
    if _cut_off(Path(path)):
        raise AttnprotoError(
            f"[findings] found {path} cut off in its last line, needs a whole file; restore it, or "
            "remove it and draw the findings again with attnproto report"
        )
    for number, record in enumerate(read_records(path), start=1):
        try:
            findings.append(Finding.model_validate(record))
        except (ValidationError, KeyError) as error:
            raise AttnprotoError(
                f"[findings] found line {number} of {path} is no finding ({_first(error)}), "
                "needs every key with a valid value; correct or remove the line"
            ) from error
    return findings


def _cut_off(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _first(error: Exception) -> str:
    errors = getattr(error, "errors", None)
    if errors is None:
        return f"missing key {error}"
    first = errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'record'}: {first['msg']}"


def write_findings(path: Path | str, findings: Iterable[Finding]) -> None:
    """Write findings, one JSON line each, replacing the file in one step."""
    write_atomically(path, "".join(finding.model_dump_json() + "\n" for finding in findings))

import json

import pytest
from attnproto.errors import AttnprotoError
from attnproto.prototypes.rows import Case
from attnproto.results import findings
from attnproto.results.confidence import FindingForbidden, compute_confidence, confidence_word
from attnproto.results.findings import (
    Device,
    Effect,
    Evidence,
    Finding,
    merge_findings,
    read_findings,
    write_findings,
)
from pydantic import ValidationError
from support.findings import sample_finding


@pytest.mark.parametrize(
    ("tier", "kind", "about_device", "cv", "width", "n", "confidence"),
    [
        ("derived", "count", True, None, None, None, 0.95),
        ("measured", "performance", True, 0.02, 0.01, 50, 0.95),
        ("measured", "performance", False, 0.02, 0.01, 50, 0.6),
        ("measured", "performance", True, 0.05, 0.01, 50, 0.7),
        ("measured", "performance", True, 0.10, 0.01, 50, 0.5),
        ("measured", "cost", True, 0.25, 0.01, 50, 0.3),
        ("measured", "performance", True, 0.02, 0.01, 9, 0.7),
        ("measured", "performance", True, 0.02, 0.20, 50, 0.76),  # 0.95 x (1 - 0.2)
        ("measured", "correctness", True, None, None, None, 0.95),
        ("emulated", "correctness", True, None, None, None, 0.8),
        ("published", "performance", True, None, None, None, 0.8),
        ("modelled", "performance", True, None, None, None, 0.5),
    ],
)
def test_confidence_follows_the_written_rule(tier, kind, about_device, cv, width, n, confidence):
    computed = compute_confidence(
        tier, kind, about_measured_device=about_device, cv=cv, relative_half_width=width, n=n
    )
    assert computed == confidence


@pytest.mark.parametrize("kind", ["performance", "cost"])
def test_an_emulated_time_supports_no_claim_about_speed(kind):
    with pytest.raises(FindingForbidden, match="GPU"):
        compute_confidence("emulated", kind, cv=0.01, n=50)


@pytest.mark.parametrize("gate", [False, None])
def test_a_failed_or_missing_correctness_gate_forbids_the_finding(gate):
    with pytest.raises(FindingForbidden, match="correctness"):
        sample_finding(gate_passed=gate)


def test_a_time_without_its_spread_supports_no_claim():
    with pytest.raises(FindingForbidden, match="CV"):
        sample_finding(tier="measured", kind="performance", n=50)


def test_the_interval_of_the_effect_lowers_the_confidence():
    wide = Effect(name="rate", value=2.0, unit="TFLOP/s", low=1.5, high=2.5)  # half width 25 %
    finding = sample_finding(tier="measured", kind="performance", effect=wide, cv=0.01, n=50)
    assert finding.confidence == 0.71  # 0.95 x 0.75 = 0.7125


@pytest.mark.parametrize(
    ("confidence", "word"),
    [
        (0.95, "verified"),
        (0.9, "verified"),
        (0.8, "high"),
        (0.6, "medium"),
        (0.4, "low"),
        (0.3, "unverified"),
    ],
)
def test_numbers_become_the_knowledge_bases_words(confidence, word):
    assert confidence_word(confidence) == word


def test_the_six_known_keys_come_first_in_their_order():
    keys = list(json.loads(sample_finding().model_dump_json()))
    assert keys[:6] == ["domain", "title", "content", "tags", "confidence", "source"]
    assert {"id", "tier", "device", "proto", "evidence", "replay", "supersedes"} <= set(keys)


def test_the_text_says_device_regime_and_what_would_overturn_it():
    content = sample_finding().content
    for part in ("A claim.", "a with b", "all", "host", "derived", "Overturned by: c"):
        assert part in content


def test_the_same_claim_has_the_same_id_and_another_claim_another():
    assert sample_finding().id == sample_finding().id
    assert sample_finding().id == sample_finding(rows=("r9",)).id
    assert sample_finding().id != sample_finding(content="Another claim.").id
    assert sample_finding().id != sample_finding(device=Device(kind="cuda", name="H200")).id


def test_a_record_whose_id_is_not_its_contents_is_refused():
    record = sample_finding().model_dump()
    record["title"] = "Changed"
    with pytest.raises(ValidationError, match="not that of the content"):
        Finding.model_validate(record)


@pytest.mark.parametrize(
    "change",
    [{"domain": "cubecl-ecosystem"}, {"tags": ["a,b"]}, {"tags": [" a"]}, {"title": ""}],
)
def test_a_record_outside_the_rules_is_refused(change):
    with pytest.raises(ValidationError):
        sample_finding(**change)


def test_an_unknown_tier_is_refused():
    record = {**sample_finding().model_dump(exclude={"id"}), "tier": "guessed"}
    with pytest.raises(ValidationError, match="tier"):
        Finding.model_validate(record)


def test_there_are_eleven_skills():
    assert len(set(findings.SKILLS)) == 11
    assert "cubecl-ecosystem" not in findings.SKILLS


def test_emitting_twice_is_emitting_once():
    assert merge_findings([sample_finding()], [sample_finding()]) == [sample_finding()]


def test_a_changed_claim_supersedes_its_past():
    old, new = sample_finding(), sample_finding(content="A better claim.")
    merged = merge_findings([old], [new])
    assert [finding.supersedes for finding in merged] == [None, old.id]
    assert merge_findings(merged, [new]) == merged


def test_another_topic_or_device_supersedes_nothing():
    others = [
        sample_finding(topic="u", title="U"),
        sample_finding(device=Device(kind="metal", name="Apple M4")),
    ]
    assert all(finding.supersedes is None for finding in merge_findings([sample_finding()], others))


def test_findings_survive_a_file(tmp_path):
    written = [sample_finding(content="Quotes \" and ' and\nnewlines and Ünïcode ✓.")]
    write_findings(tmp_path / "f.jsonl", written)
    assert read_findings(tmp_path / "f.jsonl") == written


@pytest.mark.parametrize("device", ["x", None, [], 3])
def test_a_line_that_is_no_finding_is_named(tmp_path, device):
    fields = sample_finding().model_dump()
    for wrong in ({"domain": "msl-kernels"}, {**fields, "device": device, "id": ""}):
        lines = sample_finding().model_dump_json() + "\n" + json.dumps(wrong) + "\n"
        (tmp_path / "f.jsonl").write_text(lines)
        with pytest.raises(AttnprotoError, match="line 2"):
            read_findings(tmp_path / "f.jsonl")


@pytest.mark.parametrize(
    ("kind", "name", "is_m4"),
    [
        ("metal", "Apple M4", True),
        ("metal", "Apple M4 Pro", False),
        ("cuda", "NVIDIA H200", False),
        ("cpu", "Apple M4", False),
    ],
)
def test_only_a_plain_m4_answers_for_m4(kind, name, is_m4):
    assert Device(kind=kind, name=name).is_m4 is is_m4


@pytest.mark.parametrize(("kind", "named"), [("performance", True), ("correctness", False)])
def test_a_finding_on_times_in_two_states_says_so(kind, named):
    def row(key, bimodal):
        device = {"kind": "metal", "name": "M", "tier": "measured"}
        point, result = {"kind": "time"}, {"bimodal": bimodal}
        parts = {"key": key, "point": point, "result": result, "mode": "quick"}
        return {**parts, "proto": "flash", "device": device}

    case = Case([row("r1", True), row("r2", False), row("r3", True)])
    evidence = {"compared": "a with b", "regime": "all", "overturned_by": "c", "cv": 0.3, "n": 15}
    for keys, count in ((("r1", "r2"), 1), (("r1", "r2", "r3"), 2), (("r2",), 0)):
        finding = case.finding(
            domain="gpu-perf", topic="t", title="A title", content="A claim.", tags=["one"],
            evidence=Evidence(kind=kind, rows=keys, **evidence),
        )  # fmt: skip
        said = f"Times of {count} of its rows are in two states (bimodal)."
        assert (said in finding.content) is (named and count > 0)
        assert ("bimodal" in finding.tags) is (named and count > 0)

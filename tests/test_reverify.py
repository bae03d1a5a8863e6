import json

import pytest
from attnproto import cli
from attnproto.commands.reverify import _compare, reverify
from attnproto.commands.run import run_plan
from attnproto.results.findings import Effect, Finding, write_findings
from attnproto.results.store import read_records
from attnproto.sweep.plan import make_plan
from support import synthetic_prototype as synthetic
from support.findings import sample_finding


def ran(tmp_path):
    out = tmp_path / "out"
    plan = make_plan(
        mode="quick", device="cpu", only=(synthetic.NAME,), out=out, opener=synthetic.OPENER
    )
    run_plan(plan)
    return out


def edit(path, change):
    records = list(read_records(path))
    for record in records:
        change(record)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_evidence_that_repeats_confirms_the_finding(tmp_path):
    out = ran(tmp_path)
    marks = reverify(out, synthetic.OPENER)
    assert [mark.state for mark in marks] == ["confirmed"]
    assert [r["state"] for r in read_records(out / "reverify.jsonl")] == ["confirmed"]


def test_a_changed_kernel_text_makes_the_finding_stale(tmp_path, monkeypatch):
    out = ran(tmp_path)
    monkeypatch.setenv("SYNTHETIC_HASH", "text-2")
    mark = reverify(out, synthetic.OPENER)[0]
    assert mark.state == "stale"
    assert "6 rows" in mark.reason


def test_evidence_that_says_otherwise_contradicts_the_finding(tmp_path):
    out = ran(tmp_path)
    (finding,) = list(read_records(out / "findings.jsonl"))
    finding["evidence"]["effect"]["value"] = 99.0
    finding["title"], finding["id"] = "The numbers add up to 99", ""
    write_findings(out / "findings.jsonl", [Finding.model_validate(finding)])
    mark = reverify(out, synthetic.OPENER)[0]
    assert mark.state == "contradicted"
    assert "99 became 15" in mark.reason


def test_a_claim_without_an_effect_is_its_title(tmp_path):
    out = ran(tmp_path)
    (finding,) = list(read_records(out / "findings.jsonl"))
    before = Finding.model_validate(finding)
    bare = before.evidence.model_copy(update={"effect": None})
    after = before.model_copy(update={"title": "The numbers cancel", "id": "x", "evidence": bare})
    before = before.model_copy(update={"evidence": bare})
    assert _compare(before, before.model_copy(update={"id": "y"})) == ("confirmed", "")
    state, reason = _compare(before, after)
    assert (state, reason) == ("contradicted", "it now says: The numbers cancel")


@pytest.mark.parametrize(
    ("old", "new", "state"),
    [
        ((100.0, 98.0, 102.0), (103.0, 101.0, 105.0), "confirmed"),  # intervals meet
        ((100.0, 99.0, 101.0), (109.0, 108.0, 110.0), "confirmed"),  # within 10 %
        ((100.0, 99.0, 101.0), (112.0, 111.0, 113.0), "contradicted"),
    ],
)
def test_a_measured_effect_may_move_by_its_interval_or_ten_percent(old, new, state):
    def claim(value, low, high):
        effect = Effect(name="rate", value=value, unit="", low=low, high=high)
        parts = {"tier": "measured", "kind": "performance", "cv": 0.01, "n": 50}
        return sample_finding(title=f"{value:g}", effect=effect, **parts)

    assert _compare(claim(*old), claim(*new))[0] == state


def test_evidence_that_no_longer_supports_any_claim_contradicts(tmp_path):
    out = ran(tmp_path)

    def err(record):
        record["point"]["does"] = "errs"

    edit(out / "points.jsonl", err)
    assert reverify(out, synthetic.OPENER)[0].state == "contradicted"


def test_a_device_that_is_not_here_leaves_the_finding_untested(tmp_path):
    out = ran(tmp_path)

    def move(record):
        record["device"]["kind"] = "absent"

    edit(out / "points.jsonl", move)
    assert reverify(out, synthetic.OPENER)[0].state == "untested"


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_findings_that_are_missing_or_cut_off_are_said(tmp_path, capsys, damage):
    path = ran(tmp_path) / "findings.jsonl"
    content = path.read_bytes()
    path.unlink() if damage == "missing" else path.write_bytes(content[:-9])
    assert cli.guarded(cli.app, ["reverify", str(path.parent)]) == cli.MISUSED
    said = capsys.readouterr().err
    assert (
        "found no findings.jsonl" if damage == "missing" else "cut off in its last line"
    ) in said
    if damage == "cut":  # nor is it written over by a report
        assert cli.guarded(cli.app, ["report", str(path.parent)]) == cli.MISUSED
        assert path.read_bytes() == content[:-9]


def test_a_run_without_findings_says_that_it_has_none(tmp_path, capsys):
    path = ran(tmp_path) / "findings.jsonl"
    path.write_bytes(b"")
    assert cli.guarded(cli.app, ["reverify", str(path.parent)]) == 0
    assert "holds no finding" in capsys.readouterr().out


def test_missing_rows_leave_the_finding_untested(tmp_path):
    out = ran(tmp_path)
    lines = (out / "points.jsonl").read_text().splitlines(keepends=True)
    (out / "points.jsonl").write_text("".join(lines[:-1]))
    mark = reverify(out, synthetic.OPENER)[0]
    assert (mark.state, mark.reason) == ("untested", "1 of its rows are not in the folder")

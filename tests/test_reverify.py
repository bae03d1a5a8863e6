import json

import synthetic_prototype as synthetic
from attnproto.findings import write_findings
from attnproto.reverify import reverify
from attnproto.run import make_plan, run_plan
from attnproto.store import read_records


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
    from attnproto.findings import Finding

    write_findings(out / "findings.jsonl", [Finding.model_validate(finding)])
    mark = reverify(out, synthetic.OPENER)[0]
    assert mark.state == "contradicted"
    assert "99 became 15" in mark.reason


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


def test_missing_rows_leave_the_finding_untested(tmp_path):
    out = ran(tmp_path)
    lines = (out / "points.jsonl").read_text().splitlines(keepends=True)
    (out / "points.jsonl").write_text("".join(lines[:-1]))
    mark = reverify(out, synthetic.OPENER)[0]
    assert (mark.state, mark.reason) == ("untested", "1 of its rows are not in the folder")

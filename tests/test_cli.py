import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import attnproto
import pytest
from attnproto import cli
from attnproto.commands import run
from attnproto.commands.run import run_plan
from attnproto.errors import AttnprotoError
from attnproto.prototypes.registry import text_changed
from attnproto.results.findings import read_findings, write_findings
from attnproto.results.store import Store, StoreError, latest_rows, read_rows
from attnproto.sweep import plan as plans
from attnproto.sweep.plan import make_plan
from support import synthetic_prototype as synthetic
from support.findings import sample_finding

BENCH = Path(__file__).parent.parent / "bench" / "run_all.py"


# Without cargo, which would build the crates for minutes where they are not built yet.
PATH = os.pathsep.join(
    folder
    for folder in os.environ["PATH"].split(os.pathsep)
    if shutil.which("cargo", path=folder) is None
)


def call(*words, **options):
    options = {"env": {**os.environ, "PATH": PATH}, **options}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, **options
    )


def plan(tmp_path, **options):
    options = {"mode": "quick", "device": "cpu", "only": (synthetic.NAME,), **options}
    return make_plan(out=tmp_path / "out", opener=synthetic.OPENER, **options)


def test_a_run_writes_points_findings_and_both_reports(tmp_path):
    finished = run_plan(plan(tmp_path))
    assert (finished.rows, finished.not_ok, len(finished.findings)) == (6, 0, 1)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["findings.jsonl", "points.jsonl", "report.html", "report.md"]


def test_running_again_into_a_folder_in_use_is_refused(tmp_path):
    run_plan(plan(tmp_path))
    before = (tmp_path / "out" / "points.jsonl").read_bytes()
    with pytest.raises(AttnprotoError, match="--resume"):
        plan(tmp_path)
    assert (tmp_path / "out" / "points.jsonl").read_bytes() == before


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    run_plan(plan(tmp_path))
    before = (tmp_path / "out" / "points.jsonl").read_bytes()
    findings = (tmp_path / "out" / "findings.jsonl").read_bytes()
    run_plan(plan(tmp_path, resume=True))
    assert (tmp_path / "out" / "points.jsonl").read_bytes() == before
    assert (tmp_path / "out" / "findings.jsonl").read_bytes() == findings


def rows_of(tmp_path):
    return list(read_rows(tmp_path / "out" / "points.jsonl"))


def test_a_second_run_into_the_same_folder_is_refused_while_the_first_one_runs(tmp_path):
    first, second = plan(tmp_path), plan(tmp_path)
    with Store(tmp_path / "out" / "points.jsonl"), pytest.raises(StoreError, match="another run"):
        run_plan(second)
    run_plan(first)
    with pytest.raises(AttnprotoError, match="--resume"):
        run_plan(second)
    assert len(rows_of(tmp_path)) == 6


def test_resuming_runs_points_of_older_kernel_texts_again_and_says_how_many(
    tmp_path, monkeypatch, capsys
):
    run_plan(plan(tmp_path, where=("n < 4",)))
    monkeypatch.setenv("SYNTHETIC_HASH", "text-2")
    capsys.readouterr()
    run_plan(plan(tmp_path, resume=True, where=("n != 3",)))
    said = capsys.readouterr().out
    assert "points run again, since their kernel texts changed: 3\n" in said
    assert "their points not being asked for: 1\n" in said
    latest = {
        row["point"]["n"]: row["result"]["kernel_hash"] for row in latest_rows(tmp_path / "out")
    }
    assert latest == {n: "text-1" if n == 3 else "text-2" for n in range(6)}
    assert len(rows_of(tmp_path)) == 4 + 5
    # Rows of today are not made a third time, though older ones precede them.
    run_plan(plan(tmp_path, resume=True, where=("n != 3",)))
    assert len(rows_of(tmp_path)) == 4 + 5
    assert "run again" not in capsys.readouterr().out


@pytest.mark.parametrize("does", ["raises", "errs", "crashes"])
def test_a_failure_of_an_older_text_runs_again_and_one_of_todays_does_not(
    tmp_path, monkeypatch, does
):
    failing = {"point": json.dumps({"n": 1, "does": does})}
    run_plan(plan(tmp_path, **failing))
    run_plan(plan(tmp_path, resume=True, **failing))
    assert len(rows_of(tmp_path)) == 1
    monkeypatch.setenv("SYNTHETIC_HASH", "text-2")
    run_plan(plan(tmp_path, resume=True, **failing))
    assert [row["result"]["kernel_hash"] for row in rows_of(tmp_path)] == ["text-1", "text-2"]


def test_a_text_that_cannot_be_told_here_is_not_called_changed(tmp_path, monkeypatch):
    run_plan(plan(tmp_path))
    (row, *_) = rows_of(tmp_path)
    assert not text_changed(row)
    assert text_changed({**row, "result": {}})  # it names no text
    assert not text_changed({**row, "proto": "no_such_module:IT"})


def test_conditions_and_single_points_choose_what_runs(tmp_path):
    assert [t.point["n"] for t in plan(tmp_path, where=("n < 2",)).tasks] == [0, 1]
    assert plan(tmp_path, point='{"n": 7}').tasks[0].point == {"n": 7}


def test_axes_of_the_command_line_vary_points_and_conditions_choose_among_them(tmp_path):
    todo = plan(tmp_path, axis=("n=7,8", "does=waits"), where=("n > 7",)).tasks
    assert [task.point for task in todo] == [{"n": 8, "does": "waits"}]
    text = f'[[sweep]]\nprototype = "{synthetic.NAME}"\naxes = {{n = [1, 2]}}'
    todo = plan(tmp_path, only=(), sweep_text=text, axis=("m=3",)).tasks
    assert [task.point for task in todo] == [{"n": 1, "m": 3}, {"n": 2, "m": 3}]


@pytest.mark.parametrize(
    "words", [["--out", "here"], ["--out=here"], [], ["--quick", "--resume", "--out=here"]]
)
def test_the_command_that_goes_on_names_the_folder_once(tmp_path, monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/attnproto", "run", *words])
    said = run.resume_command(plan(tmp_path).out)
    assert said.startswith("attnproto run ")
    assert said.count("--out") == said.count("--resume") == 1


def test_a_sweep_file_replaces_the_prototypes_points(tmp_path):
    text = f'[[sweep]]\nprototype = "{synthetic.NAME}"\naxes = {{n = [8, 9]}}'
    todo = plan(tmp_path, only=(), sweep_text=text).tasks
    assert [task.point for task in todo] == [{"n": 8}, {"n": 9}]


def test_rows_that_no_rule_can_read_get_a_sentence(tmp_path, capsys):
    run_plan(plan(tmp_path))
    path = tmp_path / "out" / "points.jsonl"
    path.write_text(path.read_text().replace('"n": 5, "kernel_hash"', '"m": 5, "kernel_hash"'))
    assert cli.guarded(cli.app, ["report", str(path.parent)]) == cli.MISUSED
    said = capsys.readouterr().err
    assert "its rules can't read (KeyError: 'n')" in said
    assert said.count("\n") == 1


def test_rows_that_no_report_can_show_get_a_sentence(tmp_path, capsys):
    run_plan(plan(tmp_path))
    path = tmp_path / "out" / "points.jsonl"
    tile = '{"Br": "x", "Bc": 1, "D": "wide", "dtype": "f16", "n": 5'
    text = path.read_text().replace('"point": {"n": 5', f'"point": {tile}')
    path.write_text(
        text.replace('"n": 5, "kernel_hash"', '"n": 5, "threadgroup_bytes": 8, "kernel_hash"')
    )
    assert cli.guarded(cli.app, ["report", str(path.parent)]) == cli.MISUSED
    assert "rows that no report can show (ValueError" in capsys.readouterr().err


def test_the_newest_run_is_resumed_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for age, name in ((100, "old"), (0, "new")):
        path = tmp_path / "results" / name / "points.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("{}\n")
        at = path.stat().st_mtime - age
        os.utime(path, (at, at))
    assert plans.results_folder(None, True).name == "new"
    # A search of a tile has its folders elsewhere.
    with pytest.raises(plans.UsageError, match="found no run under results/tune/"):
        plans.results_folder(None, True, plans.RESULTS / "tune")
    with pytest.raises(plans.UsageError, match=r"found no folder mistyped, needs one to resume"):
        plans.results_folder(Path("mistyped"), True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "flush"), "flush"),
        (("--point", "{}"), "--point"),
        (("--device", "tpu"), "tpu"),
        (("--quick", "--full"), "at most one"),
        (("--only", "flash", "--point", "{"), "JSON"),
        (("--only", "flash", "--point", "[1]"), "braces"),
        (("--sweep", "missing.toml"), "missing.toml"),
        (("--where", "D ="), "condition"),
        (("--where", "D == 999"), "no point that meets"),
        (("--only", "flash", "--axis", "D"), "--axis D=64,128"),
        (("--only", "flash", "--axis", "Dd=64"), "unknown Dd"),
        (("--only", "flash", "--point", '{"D": 64}'), "kind None"),
        (("--only", "flash", "--limit-s", "0"), "--limit-s 0"),
        (("--jobs", "0"), "--jobs 0"),
        (("--jobs", "2", "--fleet", "tcp://127.0.0.1:1"), "--jobs 2 with --fleet"),
        (("--only", "no_such_module:PROTOTYPE"), "no_such_module"),
        (("--only", "json:PROTOTYPE"), "json:PROTOTYPE"),
        (("--out", "/proc/none/here"), "--out"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_two(words, said, tmp_path):
    done = call(str(BENCH), *words, cwd=tmp_path)
    assert done.returncode == cli.MISUSED
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_here_leaves_nothing_behind(tmp_path):
    absent = [summary for summary in attnproto.devices() if not summary.available]
    if not absent:
        pytest.skip("this machine has every kind of device")
    words = ("--device", absent[0].kind, "--only", "flash", "--out", str(tmp_path / "here"))
    done = call(str(BENCH), *words)
    assert done.returncode == cli.MISUSED
    assert done.stderr == absent[0].reason + "\n"
    assert list(tmp_path.iterdir()) == []


def test_the_list_names_eight_prototypes_and_what_is_not_built():
    done = call(str(BENCH), "--list")
    lines = done.stdout.splitlines()
    names = ["flash", "stitch", "paged", "constants", "cubecl", "linear", "variants", "burn"]
    assert [line.split()[:2] for line in lines] == [
        [str(i), name] for i, name in enumerate(names, start=1)
    ]
    assert "quick" in lines[0]
    assert done.returncode == 0


def test_progress_counts_the_plans_points_whatever_else_the_folder_holds(tmp_path, monkeypatch):
    run_plan(plan(tmp_path))
    seen = []
    monkeypatch.setattr(
        "attnproto.sweep.progress.Progress.__enter__", lambda bar: seen.append(bar) or bar
    )
    run_plan(plan(tmp_path, resume=True, where=("n < 2",), axis=("n=0,9",)))
    (task,) = seen[0]._bar.tasks
    # Of n = 0 and 9 the condition leaves 0, which is done.
    assert (task.total, task.completed) == (1, 1)


def test_knowledge_base_commands_go_there_and_back(tmp_path, capsys):
    write_findings(tmp_path / "f.jsonl", [sample_finding()])
    words = ["kb", "import", str(tmp_path / "f.jsonl"), "--db", str(tmp_path / "kb.db")]
    assert cli.guarded(cli.app, words) == 0
    assert cli.guarded(cli.app, words) == 0
    assert "0 findings added, 1 were there" in capsys.readouterr().out
    words = ["kb", "export", str(tmp_path / "kb.db"), str(tmp_path / "g.jsonl")]
    assert cli.guarded(cli.app, words) == 0
    assert read_findings(tmp_path / "g.jsonl") == [sample_finding()]


@pytest.mark.parametrize("other", ["kb.db", "link.db", "notes.txt", "points.jsonl", "."])
def test_an_export_replaces_findings_and_nothing_else(tmp_path, monkeypatch, capsys, other):
    monkeypatch.chdir(tmp_path)
    write_findings("f.jsonl", [sample_finding()])
    assert cli.guarded(cli.app, ["kb", "import", "f.jsonl", "--db", "kb.db"]) == 0
    (tmp_path / "link.db").symlink_to("kb.db")
    Path("notes.txt").write_text("no line ends here")
    Path("points.jsonl").write_text('{"n": 1}\n')
    before = Path(other).read_bytes() if Path(other).is_file() else None
    assert cli.guarded(cli.app, ["kb", "export", "kb.db", other]) == cli.MISUSED
    assert "holds no findings, needs a new file" in capsys.readouterr().err
    assert before is None or Path(other).read_bytes() == before
    for own in ("f.jsonl", "new.jsonl"):
        assert cli.guarded(cli.app, ["kb", "export", "kb.db", own]) == 0
        assert read_findings(own) == [sample_finding()]


@pytest.mark.parametrize(
    "words", [("kb", "import", "f.jsonl"), ("report", "."), ("compare", ".", "x")]
)
def test_a_mistake_in_a_subcommand_ends_with_exit_code_two(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.guarded(cli.app, list(words)) == cli.MISUSED
    assert "needs" in capsys.readouterr().err


def test_a_report_is_drawn_again_from_points_alone(tmp_path, capsys):
    run_plan(plan(tmp_path))
    out = tmp_path / "out"
    html = (out / "report.html").read_text()
    for name in ("report.html", "report.md", "findings.jsonl"):
        (out / name).unlink()
    sys.path.insert(0, str(Path(__file__).parent))
    assert cli.guarded(cli.app, ["report", str(out)]) == 0
    assert (out / "report.html").read_text() == html


def test_a_wrong_point_shows_in_the_exit_code(tmp_path):
    ours = os.environ.get("PYTHONPATH", "")
    done = call(
        str(BENCH), "--only", synthetic.NAME, "--device", "cpu", "--out", str(tmp_path / "o"),
        "--point", json.dumps({"n": 1, "does": "errs"}),
        env={**os.environ, "PYTHONPATH": f"{ours}:{Path(__file__).parent}"},
    )  # fmt: skip
    assert done.returncode == cli.FAILED
    assert "wrong" in done.stdout
    assert "off by one" in done.stdout


def test_importing_the_package_and_its_command_stays_light():
    code = (
        "import sys, attnproto, attnproto.cli; "
        "print([m for m in ('scipy', 'pydantic', 'matplotlib', 'jinja2') if m in sys.modules])"
    )
    assert call("-c", code).stdout.strip() == "[]"


def test_every_command_has_a_line_of_its_own(capsys):
    assert cli.guarded(cli.app, ["--help"]) == 0
    lines = [line.strip("│ ") for line in capsys.readouterr().out.splitlines() if line[:1] == "│"]
    assert "doctor" in {line.split()[0] for line in lines}
    assert [line for line in lines if len(line.split()) == 1 and line in cli.app] == []

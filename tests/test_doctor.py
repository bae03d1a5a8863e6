import json
import signal
import subprocess
import sys

import attnproto
import pytest
from attnproto.commands.doctor import day_questions
from attnproto.commands.doctor.checks import DoctorError, Line, answer_apart, ask, doctor, examine
from attnproto.commands.doctor.day_questions import DAY
from attnproto.commands.doctor.day_questions import EXPECTED as DAY_EXPECTED
from attnproto.device.device import Device
from attnproto.errors import DeviceUnavailable
from support.questions import OPEN


@pytest.fixture(scope="module")
def has_metal():
    try:
        attnproto.open_device("metal")
    except DeviceUnavailable:
        return False
    return True


def test_every_kind_of_device_has_a_line_and_a_missing_one_has_its_cure():
    lines = {line.subject: line for line in examine()}
    assert lines["device cpu"].status == "ok"
    for kind in ("metal", "cuda", "cpu"):
        line = lines[f"device {kind}"]
        assert line.status in ("ok", "missing")
        assert line.status == "ok" or line.cure
    assert lines["package numpy"].status == "ok"
    assert lines["cpu max_threads"].found == "1024"
    assert lines["cpu max_threadgroup_bytes"].found == "32768"
    assert lines["kernel compiler"].found


def test_the_lines_are_written_as_json(tmp_path, capsys):
    path = tmp_path / "doctor.json"
    assert doctor(json=path, only="Q8") == 0
    record = json.loads(path.read_text())
    written = [Line(**line) for line in record["lines"]]
    printed = capsys.readouterr().out
    assert record["attnproto"] == attnproto.__version__
    assert all(line.found in printed for line in written)


def test_the_report_is_one_text_with_what_was_expected(tmp_path, has_metal):
    path = tmp_path / "doctor.txt"
    assert doctor(report=path, only="F1") == 0
    text = path.read_text()
    assert "device cpu: " in text
    if has_metal:
        assert "seen     F1: " in text
        assert f"expected: {DAY_EXPECTED['F1'][0]}" in text
    with pytest.raises(DoctorError, match=r"no folder .*absent"):
        doctor(report=tmp_path / "absent" / "doctor.txt")


def test_a_mistyped_question_or_path_is_refused_before_anything_runs(tmp_path, capsys):
    with pytest.raises(DoctorError, match=r"question Q99, R1, needs one of Q1, .* correct --only"):
        doctor(only="Q99,Q2,R1")
    with pytest.raises(DoctorError, match=r"no folder .*absent"):
        doctor(json=tmp_path / "absent" / "doctor.json")
    assert capsys.readouterr().out == ""
    with pytest.raises(DoctorError, match="not writable"):
        doctor(json=tmp_path, only="Q8")


@pytest.mark.parametrize("words", [["--jsn", "x"], ["--only"], ["--only", "Q99"], ["Q1"]])
def test_mistyped_options_end_the_command_with_a_sentence(words):
    command = [sys.executable, "-m", "attnproto", "doctor", *words]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode not in (0, -6, -11)
    said = ran.stdout + ran.stderr
    assert words[-1] in said or words[0] in said
    assert "Traceback" not in said


def test_a_question_that_kills_its_process_is_a_line():
    dead = answer_apart("Q5", "import os, sys; print('last words', file=sys.stderr); os.abort()")
    assert (dead.status, dead.subject[:3]) == ("failed", "Q5:")
    assert dead.found == f"the process ended with {-signal.SIGABRT}, saying: last words"
    slow = answer_apart("Q5", "import time; time.sleep(60)", limit_s=0.5)
    assert slow.found == "no answer in 0.5 s"
    assert "--only Q5" in slow.cure


def test_a_question_in_a_process_of_its_own_gives_its_line(has_metal):
    line = answer_apart("Q5")
    assert line.subject.startswith("Q5: ")
    # A fresh process has no device to give the double, and no Metal elsewhere.
    assert line.status == "seen" if on_a_mac() else line.status == "failed"
    assert line.found


def on_a_mac():
    return sys.platform == "darwin"


def test_without_metal_the_open_questions_say_where_to_ask(has_metal, capsys):
    if has_metal:
        pytest.skip("there is a Metal device")
    doctor()
    assert "on a Mac" in capsys.readouterr().out
    with pytest.raises(DeviceUnavailable):
        ask()


def test_every_open_question_is_answered(has_metal, record_property):
    if not has_metal:
        pytest.skip("no Metal device")
    if attnproto.open_device("metal").tier == "emulated":
        pytest.skip("test_mac_day.py asks the double")
    lines = ask()
    for line in lines:
        record_property(line.subject, f"{line.status}: {line.found}")
    # A Mac may refuse what a question tries; the sentence is then the answer.
    assert [line for line in lines if not line.found] == []
    names = [line.subject.split(":")[0] for line in lines]
    assert names == [*OPEN, *DAY]


# What the double answers, by its rules; a Mac is asked to learn what it says.
EXPECTED = {
    "Q1": "ADD",
    "Q2": "found in the archive",
    "Q3": "equal: True",
    "Q5": "max_threads 1024",
    "Q6": "32: exact, 64: exact",
    "Q7": "us per dispatch",
    "Q8": "as expected",
    "G1": "undeclared",
    "G2": "given: accepted; left out: accepted",
    "G4": "zero",
    "G8": "Invalid file",
    "G9": "1 became 3,",
    "G10": "[2.0, 1.0, 2.0, 1.0], expected",
    "G11": "32768: accepted; 32784: [metal.pipeline]",
    "G12": "Undefined symbol: modify",
    "G13": "1 became 6,",
    "G14": "zero",
    "G15": "Nothing to serialize",
    "G16": "the second content: accepted; with a comment more: accepted",
    "G17": "accepted",
    "G18": "32 of 32 read",
    "G19": "0 of 1024",
    "G20": "['modify'], 1 became 1.5001,",
    "K2": "bf16 rope: right",
    "K3": "table: right",
    "T1": "us in one",
    "T2": "after 100 ms",
    "T3": "in 50 spans",
    "T4": "with the error option",
    "F1": "readable as [0] and [1]",
    "F2": "bfloat x bfloat: right",
    "F3": "1 became 1.5001,",
    "F4": "[2.0, 1.0, 2.0, 1.0], expected",
    "W1": "afterwards accepted",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_double_answers_as_its_rules_say(has_metal, name):
    if not has_metal or attnproto.open_device("metal").tier != "emulated":
        pytest.skip("needs the software double")
    (line,) = ask(name)
    assert line.status == "seen"
    assert EXPECTED[name] in line.found


class Listening(Device):
    """The cpu device, which lists the texts that it compiles."""

    def __init__(self):
        super().__init__(attnproto.open_device("cpu")._core)
        self.texts = []

    def library(self, text, **options):
        self.texts.append(text)
        return super().library(text, **options)


@pytest.mark.parametrize(
    ("name", "lines", "said"),
    [
        ("K2", 15, "right; "),
        ("K3", 6, "right; "),
        ("T4", 1, "without"),
        ("F4", 1, "[2.0, 1.0, 2.0, 1.0], expected"),
    ],
)
def test_questions_of_the_day_can_be_asked_of_any_device(name, lines, said):
    # As the doctor asks them: in a process of their own, where nothing else has imported anything.
    asked = "import sys, attnproto; from attnproto.commands.doctor.day_questions import DAY; "
    asked += "print(DAY[sys.argv[1]](attnproto.open_device('cpu')))"
    command = [sys.executable, "-c", asked, name]
    answers = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(answers) == lines
    assert [line for line in answers if said not in line] == []


@pytest.mark.parametrize("name", ["K1", "K2", "K3"])
def test_the_first_kernel_is_not_charged_with_the_start_of_the_compiler(name, monkeypatch):
    device = Listening()
    # The kernels themselves are not what is asked here.
    monkeypatch.setattr(day_questions, "_compiled", lambda on, run: "right")
    DAY[name](device)
    assert ["kernel void wake" in text for text in device.texts] == [True]

import json

import attnproto
import pytest
from attnproto.doctor import Line, ask, doctor, examine
from attnproto.errors import DeviceUnavailable


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
    assert lines["kernel compiler"].found


def test_the_lines_are_written_as_json(tmp_path, capsys):
    path = tmp_path / "doctor.json"
    assert doctor(json=path, only="Q8") == 0
    written = [Line(**line) for line in json.loads(path.read_text())["lines"]]
    printed = capsys.readouterr().out
    assert all(line.found in printed for line in written)


def test_without_metal_the_open_questions_say_where_to_ask(has_metal, capsys):
    if has_metal:
        pytest.skip("there is a Metal device")
    doctor()
    assert "on a Mac" in capsys.readouterr().out
    with pytest.raises(DeviceUnavailable):
        ask()


def test_every_open_question_is_answered(has_metal):
    if not has_metal:
        pytest.skip("no Metal device")
    lines = ask()
    assert [line for line in lines if line.status != "seen"] == []
    found = {line.subject.split(":")[0]: line.found for line in lines}
    assert len(found) == 16
    assert "ADD" in found["Q1"]
    assert found["Q8"] == "as expected"
    assert found["G4"] == "zero"


def test_a_question_that_does_not_exist_is_a_line(has_metal):
    if not has_metal:
        pytest.skip("no Metal device")
    (line,) = ask("Q99")
    assert (line.status, line.subject) == ("failed", "Q99")

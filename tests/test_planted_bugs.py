"""The corpus of planted bugs fits the kernels, and its judge can say both yes and no.

`make planted-bugs` judges all of it; here stands what a change of a kernel may break.
"""

from __future__ import annotations

import attnproto
import pytest
from attnproto.kernels.text import metal_root
from planted_bugs import Bug, corpus
from planted_bugs.families import FAMILIES
from planted_bugs.run import PASSED, judge

BUGS = corpus()


@pytest.fixture(autouse=True)
def plainly(monkeypatch):
    # The judge chooses the device itself.
    monkeypatch.delenv("ATTNPROTO_VALIDATE", raising=False)


def test_every_bug_changes_a_text_that_stands_once_in_its_file():
    assert len(BUGS) >= 100
    assert len({(bug.file, bug.old, bug.new) for bug in BUGS}) == len(BUGS)
    for bug in BUGS:
        text = (metal_root() / bug.file).read_text(encoding="utf-8")
        assert text.count(bug.old) == 1, f"{bug.file}: {bug.mistake}"
        assert bug.new not in ("", bug.old) or bug.old.endswith("\n")
        # The rest of a comment is no code.
        rest = text.partition(bug.old)[2].partition("\n")[0]
        begun, kept = ("//" in part.rpartition("\n")[2] for part in (bug.old, bug.new))
        assert not (rest and begun and not kept), f"{bug.file}: {bug.mistake}"
        assert bug.family in FAMILIES
        assert bug.mistake.endswith(".")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_kernels_as_they_are_pass_on_a_validating_device(name):
    FAMILIES[name].cases[0](attnproto.open_device("cpu", validate=True))


def judged(mistake: str):
    (bug,) = [bug for bug in BUGS if bug.mistake == mistake]
    return judge(bug)


def test_the_judge_tells_who_caught_a_bug():
    masked = judged("A query does not see its own key.")
    assert (masked.usual, masked.by) == ("caught", "tests")
    lockstep = judged("Lanes read totals that another lane will have written.")
    assert (lockstep.usual, lockstep.by) == (PASSED, "validation")
    assert "found race" in lockstep.how


def test_the_judge_calls_a_change_that_is_no_mistake_missed():
    file = "gqa/gqa.metal"
    same = Bug("", "expansion", file, "if (at.x >= params.quads)", "if (params.quads <= at.x)")
    verdict = judge(same)
    assert (verdict.usual, verdict.by) == (PASSED, "")
    broken = judge(Bug("", "expansion", file, "at.x >= params.quads", "at.x >= quads"))
    assert (broken.usual, broken.by) == ("does not compile", "")

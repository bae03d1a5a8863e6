"""A finding's replay runs the points behind it, and no others."""

import json
import random
import shlex

import pytest
from attnproto.commands.conclude import draw_findings
from attnproto.commands.run import run_plan
from attnproto.prototypes.registry import load
from attnproto.results.store import latest_rows
from attnproto.sweep.plan import make_plan
from attnproto.sweep.replay import replay_of
from support import synthetic_prototype as synthetic
from support.rows import flash_tile_row


def said(text):
    """The options of a command line, as make_plan takes them."""
    program, command, *words = shlex.split(text)
    assert (program, command) == ("attnproto", "run")
    options = {"mode": "quick", "device": "cpu", "axis": [], "where": []}
    while words:
        name = words.pop(0).removeprefix("--")
        if name in ("quick", "full"):
            options["mode"] = name
        elif name in ("axis", "where"):
            options[name].append(words.pop(0))
        elif name == "only":
            options[name] = (words.pop(0),)
        else:
            options[name] = words.pop(0)
    return options


def points_of(tasks):
    return sorted(json.dumps(task.point, sort_keys=True) for task in tasks)


def rows_of(points, proto="flash", mode="quick"):
    return [{**flash_tile_row(0), "proto": proto, "mode": mode, "point": point} for point in points]


def replayed(points, **about):
    """The points that the replay of rows runs, and the replay itself."""
    text = replay_of(rows_of(points, **about))
    plan = make_plan(**said(text))
    assert plan.mode == about.get("mode", "quick")
    assert points_of(plan.tasks) == sorted(json.dumps(p, sort_keys=True) for p in points)
    return text


def own(*kinds, mode="quick", proto="flash"):
    return [p for p in load(proto).points(mode) if p["kind"] in kinds]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"where": ('kind == "tile"',)}, "--where"),
        ({"where": ('kind in ("tile", "mask")',)}, "--where"),
        ({"axis": ("D=64",), "where": ('kind == "tile"',)}, "--where 'D == 64'"),
        ({"axis": ("D=96,256",), "where": ('kind == "length"',)}, "--axis D=96,256"),
        ({"axis": ("D=64", "dtype=f32"), "where": ('kind == "tile"', "Br < 64")}, "Br in ("),
        ({"axis": ("rows=3",), "where": ('kind == "tile"', "Br == 16")}, "--axis rows=3"),
        ({"mode": "full", "protocol": "quick", "where": ('kind == "length"',)}, "--protocol quick"),
    ],
    ids=["kind", "kinds", "fewer", "new", "several", "more", "protocol"],
)
def test_whatever_options_chose_the_points_the_replay_runs_just_them(options, says):
    options = {"mode": "quick", "device": "cpu", "only": ("flash",), **options}
    plan = make_plan(**options)
    assert len(plan.tasks) > 1
    text = replayed([dict(task.point) for task in plan.tasks], mode=plan.mode)
    assert says in text
    assert "--point" not in text


@pytest.mark.parametrize("seed", range(4))
def test_points_that_no_condition_tells_apart_are_written_out(seed):
    chosen = random.Random(seed).sample(own("tile", "mask", "length"), 7)
    assert "--point '[{" in replayed(chosen)


def test_one_point_is_replayed_as_its_row_is():
    assert replayed(own("tile")[:1]).count("{") == 1


def test_a_value_that_the_command_line_cannot_say_is_written_out():
    points = [{"n": n, "does": "1,2"} for n in range(6)]
    assert "--point" in replayed(points, proto=synthetic.NAME)


def test_findings_of_a_run_along_an_axis_say_the_axis(tmp_path):
    options = {"mode": "quick", "device": "cpu", "only": (synthetic.NAME,)}
    first = make_plan(
        **options, out=tmp_path / "a", opener=synthetic.OPENER, axis=("n=7,8,9",), where=("n > 7",)
    )
    run_plan(first)
    (finding,) = draw_findings(latest_rows(tmp_path / "a"))
    assert "--axis n=8,9" in finding.replay
    again = make_plan(**said(finding.replay), out=tmp_path / "b", opener=synthetic.OPENER)
    run_plan(again)
    (repeated,) = draw_findings(latest_rows(tmp_path / "b"))
    assert repeated == finding

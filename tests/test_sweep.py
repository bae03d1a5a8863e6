import pytest
from attnproto.sweep import Sweep, SweepError, condition, keep, parse_sweep


def test_points_are_the_product_of_axes_with_the_last_varying_fastest():
    sweep = Sweep("flash", {"D": [64, 128], "dtype": ["f16", "f32"]}, {"N": 100})
    assert sweep.points() == [
        {"N": 100, "D": 64, "dtype": "f16"},
        {"N": 100, "D": 64, "dtype": "f32"},
        {"N": 100, "D": 128, "dtype": "f16"},
        {"N": 100, "D": 128, "dtype": "f32"},
    ]


def test_conditions_refuse_points():
    sweep = Sweep("flash", {"Br": [16, 32], "D": [64, 256]}, where=("Br * D <= 4096",))
    assert sweep.points() == [{"Br": 16, "D": 64}, {"Br": 16, "D": 256}, {"Br": 32, "D": 64}]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("D == 64 and dtype == 'f16'", True),
        ("D != 64 or dtype in ('f32', 'bf16')", False),
        ("not causal", True),
        ("32 < D <= 64", True),
        ("(D + 1) % 5 == 0", True),
        ("D // 10 - 6 == -0", True),
        ("dtype not in ['f16']", False),
    ],
)
def test_conditions_mean_what_they_say(text, holds):
    assert condition(text)({"D": 64, "dtype": "f16", "causal": False}) is holds


@pytest.mark.parametrize(
    "text",
    [
        "D ==",
        "__import__('os')",
        "D.real == 1",
        "[x for x in D]",
        "E == 1",
        "D < 'a'",
        "D // 0 == 1",
    ],
)
def test_anything_else_is_refused_with_a_sentence(text):
    with pytest.raises(SweepError, match="sweep"):
        condition(text)({"D": 64})


def test_a_filter_passes_over_points_that_lack_the_key():
    points = [{"D": 64}, {"D": 128, "page": 16}, {"D": 64, "page": 8}]
    assert keep(points, ["page <= 8"]) == [{"D": 64, "page": 8}]
    assert keep(points, ["page * 2 == 32"]) == [{"D": 128, "page": 16}]
    with pytest.raises(SweepError, match="'pages'"):
        keep(points, ["pages == 8"])


def test_sweeps_are_read_from_toml():
    text = """
    [[sweep]]
    prototype = "flash"
    where = ["Br < 64"]
    axes = {Br = [16, 64], D = [64]}
    fixed = {dtype = "f16"}
    """
    assert parse_sweep(text)[0].points() == [{"dtype": "f16", "Br": 16, "D": 64}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[sweep]", "TOML"),
        ("", "no sweep"),
        ('[[sweep]]\nprototype = "flash"', "no axes"),
        ("[[sweep]]\naxes = {D = [64]}", "no prototype"),
        ('[[sweep]]\nprototype = "flash"\naxes = {D = 64}', "axis D"),
        ('[[sweep]]\nprototype = "flash"\naxes = {D = []}', "axis D"),
        ('[[sweep]]\nprototype = "flash"\naxis = {D = [64]}', "axis ="),
        ("[[sweep]]\nprototype = 3\naxes = {D = [64]}", "prototype = 3"),
    ],
)
def test_a_sweep_that_cannot_be_followed_gets_a_sentence(text, said):
    with pytest.raises(SweepError, match=said):
        parse_sweep(text)

import pytest
from attnproto.sweep.points import (
    Sweep,
    SweepError,
    check_points,
    condition,
    keep,
    parse_axis,
    parse_sweep,
    vary,
)


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


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("D=64,128", ("D", [64, 128])),
        ("dtype = f16, bf16", ("dtype", ["f16", "bf16"])),
        ("causal=true,false", ("causal", [True, False])),
        ("scale=0.5,null", ("scale", [0.5, None])),
    ],
)
def test_axes_are_read_from_the_command_line(text, axis):
    assert parse_axis(text) == axis


@pytest.mark.parametrize("text", ["D", "=64", "D=", "D=64,,128"])
def test_an_axis_without_name_or_values_gets_a_sentence(text):
    with pytest.raises(SweepError, match="--axis D=64,128"):
        parse_axis(text)


def test_axes_take_the_place_of_the_points_own_values_and_equal_points_stand_once():
    points = [{"D": 64, "N": 1}, {"D": 128, "N": 1}, {"D": 64, "N": 2}]
    assert vary(points, {"D": [72, 96]}) == [
        {"D": 72, "N": 1},
        {"D": 96, "N": 1},
        {"D": 72, "N": 2},
        {"D": 96, "N": 2},
    ]
    assert vary(points, {}) == points


OWN = [{"kind": "tile", "D": 64}, {"kind": "pair", "D": 64, "a": 1}]


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"D": 64}, "kind None, needs one of tile, pair"),
        ({"kind": "tyle", "D": 64}, "'tyle'"),
        ({"kind": "pair", "D": 64}, "no a in a flash point of kind pair"),
        ({"kind": "tile", "D": 64, "keyss": "lane"}, "the unknown keyss"),
    ],
)
def test_a_point_that_its_prototype_would_misread_is_refused(point, said):
    with pytest.raises(SweepError, match=said):
        check_points("flash", [point], OWN, ["keys"])


def test_a_point_may_have_the_keys_of_other_kinds_and_of_axes():
    check_points("flash", [{"kind": "tile", "D": 64, "a": 1, "keys": "lane"}], OWN, ["keys"])
    check_points("own", [{"n": 7}], [{"n": 1, "does": "works"}], [])

import re
import types
import xml.etree.ElementTree as ElementTree
from html import escape as html_text
from html.parser import HTMLParser

import pytest
from attnproto.report import charts, markdown, plotting, report, summary
from attnproto.results.findings import Effect
from attnproto.results.tables import SideBySide, Table
from markdown_it import MarkdownIt
from support.findings import sample_finding
from support.rows import flash_tile_row

VOID = {"meta", "br", "img", "input", "hr", "link"}


def timed(i):
    return flash_tile_row(
        i, "measured", time_us=100.0 + i, time_low_us=99.0, time_high_us=103.0, flops=1e9,
        bytes=1e6, max_row_ulp=0.9, threadgroup_bytes=4096, cv=0.01, samples_us=[100.0] * 9,
        peaks={"flops_per_s": 3e12, "bytes_per_s": 1e11, "empty_us": 2.0},
    )  # fmt: skip


def pair_row():
    result = {"ratio": 0.9, "ratio_low": 0.88, "ratio_high": 0.92, "verdict": "faster"}
    return {**flash_tile_row(0, "measured", **result), "key": "pair"}


def crossover_row():
    probes = [
        {"N": n, "ratio": n / 1000, "low": n / 1010, "high": n / 990, "verdict": "faster"}
        for n in (256, 512, 2048)
    ]
    result = {"status": "bracketed", "crossover_low": 512, "crossover_high": 2048, "probes": probes}
    return {**flash_tile_row(0, "measured"), "result": result, "key": "crossover"}


class Balanced(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.errors = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.errors.append(tag)


HOSTILE = "<img src=x onerror=alert(1)> [a](javascript:b) | `c`\n# d\r\n```\n&lt; *e* ~~f~~"


def test_markup_in_results_is_shown_and_obeyed_nowhere():
    """Every text of a row and a finding may come from another's file or a compiler."""
    bad = {
        **flash_tile_row(0, status="error", refused=HOSTILE),
        "key": HOSTILE,
        "point": {"kind": HOSTILE, HOSTILE: HOSTILE},
        "reason": HOSTILE,
        "mode": HOSTILE,
        "device": {"kind": HOSTILE, "name": HOSTILE, "tier": "emulated"},
        "environment": {HOSTILE: HOSTILE},
    }
    finding = sample_finding(title=HOSTILE, content=HOSTILE, rows=(HOSTILE,))
    finding = finding.model_copy(update={"replay": HOSTILE})
    html, text = report.render([bad], [finding])
    assert "<img" not in html
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    drawn = set(re.findall(r"<(\w+)", page))
    tables = {"table", "thead", "tbody", "tr", "th", "td"}
    assert drawn == {"h1", "h2", "h3", "p", "ul", "li", "strong", "code"} | tables
    assert page.count("<strong>") == 2  # the device's tier, and what is said of M4
    assert len(re.findall("<h[123]", page)) == 10
    said = html_text(re.sub(r"[\r\n]+", " ", HOSTILE))
    # Mode, device 2, title twice, content, replay, evidence, point 3, reason, environment 2.
    assert page.count(said) == 14
    (line,) = (one for one in page.split("<tr>") if "error" in one and "<td>" in one)
    assert line.count("<td>") == 4 + len(report._FIELDS)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# a", "\\# a"),
        ("1. a", "1\\. a"),
        ("- a", "\\- a"),
        ("---", "\\---"),
        ("0.95 and -5", "0.95 and -5"),
        ("a_b #1", "a_b #1"),
        (" | ", r" \| "),
        ("", ""),
    ],
)
def test_a_line_of_markdown_shows_its_text_as_it_is(text, shown):
    assert markdown.escaped(text) == shown


def test_code_is_fenced_by_more_than_it_holds():
    assert markdown.code("a `` b") == "```a `` b```"
    assert markdown.code("`a|b`") == "`` `a|b` ``"
    assert markdown.code("a|b", cell=True) == "`a\\|b`"
    texts = SideBySide("t", ("a", "b"), (("```", "  x\ny"),))
    assert markdown.block(texts).splitlines()[0] == "````"
    assert markdown.block(texts).splitlines()[2] == "```" + 75 * " " + " |   x y"


def test_the_page_is_whole_and_needs_nothing_from_elsewhere():
    html, _ = report.render([timed(i) for i in range(4)], [sample_finding()])
    parser = Balanced()
    parser.feed(html)
    assert parser.errors == []
    assert parser.open == []
    assert not re.search(r'(?:src|href)="(?:http|//)', html)
    assert "<script" not in html
    assert 'name="viewport"' in html


def test_every_link_of_a_finding_leads_to_a_row_on_the_page():
    rows = [flash_tile_row(i) for i in range(1500)]
    cited = sample_finding(rows=("key001499", "key000003"))
    html, _ = report.render(rows, [cited])
    for target in re.findall(r'href="#([^"]+)"', html):
        assert f'id="{target}"' in html
    assert 'href="#r-key001499"' in html
    assert html.count("<tr id=") == 1000


def test_a_finding_links_to_all_of_its_rows_on_the_page():
    rows = [flash_tile_row(i) for i in range(60)]
    html, markdown = report.render(rows, [sample_finding(rows=tuple(r["key"] for r in rows[:54]))])
    for r in rows[:54]:
        assert f'href="#r-{r["key"]}"' in html
    assert "48 more rows" in html
    assert "and 48 more" in markdown


def surprise(i, time_us, name="Apple M4"):
    modelled = dict(
        modelled_us=100.0, modelled_low_us=92.0, modelled_high_us=110.0, modelled_chip="M4"
    )
    row = flash_tile_row(i, "measured", time_us=time_us, **modelled)
    return {**row, "device": {**row["device"], "name": name}}


def test_a_time_outside_its_interval_is_a_surprise_and_comes_first():
    rows = [surprise(0, 108.0), surprise(1, 111.0), surprise(2, 91.0), surprise(3, 95.0)]
    assert [charts.is_surprise(row) for row in rows] == [False, True, True, False]
    svg = charts.surprises(rows)
    # Drawn from below: those as expected, then those outside, the furthest at the top.
    assert re.findall(r'href="#r-([^"]+)"', svg) == [rows[i]["key"] for i in (3, 0, 2, 1)]


def test_another_devices_times_are_no_surprise():
    rows = [surprise(0, 500.0, "NVIDIA H200"), flash_tile_row(1, "measured", time_us=9.0)]
    assert not charts.is_surprise(rows[0])
    assert charts.surprises(rows) is None


def test_every_mark_of_every_chart_links_to_its_row():
    rows = [timed(i) for i in range(1200)] + [pair_row(), crossover_row()]
    html, _ = report.render(rows, [])
    links = re.findall(r'xlink:href="#(r-[^"]+)"', html)
    assert {"r-pair", "r-crossover"} <= set(links)
    for target in links:
        assert f'<tr id="{target}"' in html
    # Of 1200 rows an even selection of 400 is drawn in each of four charts, which say which.
    assert len(set(links)) >= 400
    assert "keys; every 3rd of 1,200 rows" in html


def test_tiers_are_named_and_explained():
    html, markdown = report.render([flash_tile_row(0)], [sample_finding()])
    for tier in report.TIERS:
        assert f'class="chip {tier}"' in html
    assert "`derived`" in markdown


@pytest.mark.parametrize(
    ("last", "said"),
    [("2026-01-01T23:00:00+00:00", "2026-01-01 00:00 UTC<"),
     ("2026-01-04T01:00:00+00:00", "2026-01-01 00:00 UTC to 2026-01-04<")],
)  # fmt: skip
def test_a_page_says_from_when_to_when_its_rows_are(last, said):
    html, _ = report.render(
        [flash_tile_row(0, "measured"), {**flash_tile_row(1, "measured"), "started_utc": last}], []
    )
    assert said in html


def test_a_page_without_an_m4_says_so_first():
    html, markdown = report.render([flash_tile_row(0)], [])
    assert "No time on this page was measured on an Apple M4" in html
    assert "No time on this page was measured on an Apple M4" in markdown
    assert "No time on this page" not in report.render([timed(0)], [])[0]


def test_an_emulated_time_appears_nowhere():
    emulated = flash_tile_row(0, time_us=77777.0, emulated_us=88888.0, max_row_ulp=0.9, flops=1e9)
    html, markdown = report.render([emulated], [])
    for text in (html, markdown):
        assert "77,777" not in text
        assert "88888" not in text
    titles = [chart["title"] for chart in charts.draw_charts([emulated])]
    assert titles == ["Error against FP64"]


def test_text_from_results_cannot_break_the_page():
    html, _ = report.render(
        [flash_tile_row(0, status="error")], [sample_finding(title="<b>bold</b> & so on")]
    )
    assert "a &lt;reason&gt;" in html
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; so on" in html


def test_published_marks_stand_as_their_own_tier_with_sources():
    html, markdown = report.render([flash_tile_row(0)], [])
    assert "MFA@8671cdd xlsx" in html
    assert "arXiv 2502.05317v2" in markdown
    assert "Not measured by this program" in html


@pytest.mark.parametrize("name", ["throughput", "throughput_by_tile", "roofline", "error_by_time"])
def test_charts_of_measured_times_are_drawn(name):
    svg = getattr(charts, name)([timed(i) for i in range(5)])
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "viewBox" in svg
    assert not re.search(r'^<svg[^>]* width="', svg)


def test_tiles_of_equal_blocks_stand_apart():
    rows = [timed(0), timed(0)]
    rows[1]["point"] = {**rows[1]["point"], "rows": 16, "keys": "ahead32"}
    svg = charts.throughput_by_tile(rows)
    tile = f"{rows[0]['point']['Br']}x{rows[0]['point']['Bc']}"
    assert f">{tile} D" in svg
    assert f">{tile} rows 16 keys ahead32 D" in svg


def test_a_crossover_shows_its_probes_and_the_interval_of_the_crossing():
    svg = charts.crossover([crossover_row()])
    assert svg.count('xlink:href="#r-crossover"') == 3
    assert [chart["title"] for chart in charts.draw_charts([crossover_row()])] == ["Crossover"]


def test_a_pair_shows_its_sides_and_verdict():
    point = {"axis": "keys", "a": "lane", "b": "matrix", "D": 64, "Nkv": 128, "dtype": "f16"}
    svg = charts.pairs([{**pair_row(), "point": point}])
    assert "keys lane / matrix, f16 D 64 Nkv 128" in svg
    assert plotting.COLOURS["f16"] in svg
    svg = charts.pairs([{**pair_row(), "point": {"a": "cmma", "b": "hand8", "D": 64, "N": 128}}])
    assert "cmma / hand8, D 64 N 128" in svg
    assert charts.draw_charts([{**pair_row(), "device": flash_tile_row(0)["device"]}]) == []


def test_of_many_pairs_those_that_differ_most_are_shown_and_counted():
    pairs = []
    for i in range(50):
        row = pair_row()
        ratio = {0: 0.5, 49: 2.0}.get(i, 1.0 + i / 1000)
        pairs.append(
            {
                **row,
                "key": f"pair{i}",
                "point": {"a": f"one{i}", "b": "two", "D": 64},
                "result": {**row["result"], "ratio": ratio},
            }
        )
    svg = charts.pairs(pairs)
    assert "the 40 of 50 that differ most" in svg
    assert "one0 / two" in svg
    assert "one49 / two" in svg
    assert "one5 / two" not in svg


def test_series_are_told_apart_by_name_colour_and_marker():
    here, there = flash_tile_row(0), flash_tile_row(0, "measured")
    other = {**here, "point": {**here["point"], "dtype": "f32"}}
    paged = {**here, "proto": "paged"}

    def names(*rows):
        return [name for name, _, _ in plotting.series_of(rows)]

    assert names(here, here) == ["f16", "f16"]
    assert names(here, there) == ["host", "Apple M4"]
    assert names(here, paged) == ["flash", "paged"]
    assert names(here, other, paged) == ["flash f16", "flash f32", "paged f16"]
    assert len(set(plotting.series_of([here, other, paged]))) == 3
    looks = [look for _, *look in plotting.series_of([here, other, paged])]
    assert looks[0] != looks[1] != looks[2] != looks[0]


@pytest.mark.parametrize("dtype", plotting.COLOURS)
def test_an_element_type_has_its_colour_in_every_chart(dtype):
    """Whatever stands beside it: here nothing does."""

    def of_type(row):
        return {**row, "point": {**row["point"], "dtype": dtype}}

    rows = [of_type(timed(0)), of_type(surprise(1, 111.0))]
    drawn = [
        *(getattr(charts, name)(rows) for name in (
            "error_by_length", "throughput", "throughput_by_tile", "roofline", "error_by_time",
            "surprises")),
        charts.pairs([of_type(pair_row())]),
        charts.crossover([of_type(crossover_row())]),
    ]  # fmt: skip
    for svg in drawn:
        assert {c for c in plotting.COLOURS.values() if c in svg} == {plotting.COLOURS[dtype]}


def test_a_pairs_verdict_is_its_markers_shape():
    shapes = set()
    for verdict in ("faster", "slower", "equal", "undecided"):
        row = pair_row()
        svg = charts.pairs([{**row, "result": {**row["result"], "verdict": verdict}}])
        shapes.add(
            re.search(
                r'PathCollection_1">\s*<defs>\s*<path id="\w+" d="([^"]+)" style="([^"]+)"', svg
            ).groups()
        )
    assert len(shapes) == 4


def test_published_marks_are_drawn_after_the_rows_and_named_beside_the_axes():
    svg = charts.throughput([timed(i) for i in range(5)]).split('id="legend_')[0]
    for dtype in ("f16", "f32"):
        assert svg.index(f'id="published-{dtype}"') > svg.rindex('id="PathCollection')
        assert f">MFA {dtype}<" in svg


@pytest.mark.parametrize(
    ("xs", "ys"),
    [
        ([4096, 4096], [10.0, 10.1]),
        ([1100, 1200], [0.21, 0.45]),
        ([64, 65536], [1.0, 90.0]),
        ([3], [7.0]),
    ],
)
def test_a_log_axis_has_two_numbers_at_least(xs, ys):
    figure, axis = plotting.plt.subplots()
    axis.scatter(xs, ys)
    plotting.log_axes(axis)
    figure.canvas.draw()
    for side, (low, high), values in (
        (axis.xaxis, axis.get_xlim(), xs), (axis.yaxis, axis.get_ylim(), ys)
    ):  # fmt: skip
        shown = [t.get_text() for t in side.get_major_ticks() for t in [t.label1]
                 if low <= t.get_position()[side is axis.yaxis] <= high]  # fmt: skip
        assert len([text for text in shown if text]) >= 2, shown
        assert low <= min(values)
        assert max(values) <= high
    plotting.plt.close(figure)


def test_the_summary_says_what_holds_what_is_open_and_what_awaits_which_device():
    weak = sample_finding(title="A weak claim").model_copy(update={"confidence": 0.5})
    sure = sample_finding(title="A sure claim")
    other = sample_finding(title="Another sure claim")
    undecided = pair_row()
    undecided["result"] |= {"verdict": "undecided", "modelled_us": 5.0}
    undecided["device"] = {**undecided["device"], "kind": "cuda", "name": "NVIDIA H200"}
    refused = [
        flash_tile_row(i, modelled_refused=lines, modelled_chip="M4")
        for i, lines in enumerate((["N: found 8", "D: found 60"], ["D: found 12"]), start=2)
    ]
    rows = [undecided, flash_tile_row(1, status="error"), *refused]
    said = summary.summarise(rows, [sure, other, weak])
    proto = sure.proto
    assert said.holds == (summary.Line(proto, "A sure claim (and 1 more)", sure.id),)
    assert said.undecided[0].said.endswith(": not told apart in time")
    assert said.undecided[0].anchor == "r-pair"
    assert said.undecided[1:] == (
        summary.Line(proto, "1 finding is of a confidence below 0.8"),
        summary.Line("flash", "1 point error"),
    )
    marks = len(report.published.published_marks())
    assert [(line.about, line.said) for line in said.awaits] == [
        ("Apple M4", "every time of flash"),
        ("Apple M4", "1 expected time, beside an M4's own"),
        (
            "Apple M4",
            "2 points of which no number is expected, by the lines of the model's scope that they "
            "miss: D 2, N 1; each row has its reasons",
        ),
        ("Apple M4", f"{marks} of {marks} published marks"),
        ("any device", "stitch, paged, constants, cubecl, linear, variants, burn: no row here"),
    ]


def test_what_an_m4_has_timed_awaits_none():
    assert "Apple M4" not in [
        line.about for line in summary.summarise([timed(0)], []).awaits if "every" in line.said
    ]


def test_the_table_of_contents_stays_and_leads_to_what_is_there():
    html, text = report.render([timed(0)], [sample_finding()])
    assert re.search(r"nav \{[^}]*position: sticky; top: 0", html)
    nav = re.search(r"<nav>(.*?)</nav>", html, re.S)[1]
    links = re.findall(r'href="#(\w+)"', nav)
    assert links == ["summary", "charts", "findings", "marks", "rows", "environment"]
    assert all(f'<h2 id="{link}"' in html for link in links)
    assert "### What awaits which device" in text


def test_a_selection_of_rows_says_which_they_are():
    html, text = report.render([flash_tile_row(i) for i in range(1500)], [])
    assert "1,000 of 1,500: those that findings and charts" in html
    assert "1,000 of 1,500: those that findings and charts link to, those that failed, and" in text


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (1024.0, "1k"), (0.5, "0.5"), (1000.0, "1000"), (2**20, "1M")]
)
def test_axes_have_plain_numbers(value, text):
    assert plotting.plain(value) == text


def test_an_m4_stands_beside_the_published_marks_with_its_ratio():
    m4 = timed(0)
    m4["point"] = {"B": 1, "Hq": 1, "causal": False, "Nq": 4096, "Nkv": 4096, "D": 64}
    m4["point"] |= {"dtype": "f16"}
    # 2 TFLOP/s beside 1697 GINSTRS, which are 1697 x 256 / 133 / 1000 = 3.266: 0.61.
    m4["result"] |= {"flops": 2e12, "time_us": 1e6}
    html, markdown = report.render([m4], [])
    assert '<td class="n">0.61</td>' in html
    assert "| 3.27 | 2 | 0.61 |" in markdown
    assert "beside this M4" in html
    pro = {**m4, "device": {**m4["device"], "name": "Apple M4 Pro"}}
    assert "ratio</th>" not in report.render([pro], [])[0]


def test_charts_without_anything_to_show_are_left_out():
    assert charts.draw_charts([flash_tile_row(0)]) == []
    titles = [chart["title"] for chart in charts.draw_charts([timed(0)])]
    assert titles == [
        "Threadgroup memory",
        "Error against FP64",
        "Throughput",
        "Throughput by tile",
        "Roofline",
        "Error against time",
    ]


def test_counted_work_stands_on_flop_a_byte(monkeypatch):
    # 4 products of 1024 FLOP and 512 more, over 512 unique bytes and 2048 asked for: 9 and 2.25.
    counts = dict(
        matrix_operations=128, float_operations=512, unique_load_bytes=256, unique_store_bytes=256,
        device_load_bytes=1792, device_store_bytes=256,
    )  # fmt: skip
    assert "unique device byte" in charts.counted_work([flash_tile_row(0, counts=counts)])
    assert charts.counted_work([flash_tile_row(0)]) is None
    seen = []
    monkeypatch.setattr(
        charts, "scatter", lambda rows, x, y, *rest: seen.extend((x(r), y(r)) for r in rows)
    )
    charts.counted_work(
        [
            flash_tile_row(0, counts=counts),
            flash_tile_row(1, paged_counts=counts),
            flash_tile_row(2),
        ]
    )
    assert seen == [(9.0, 2.25), (9.0, 2.25)]


def test_the_threadgroup_map_shows_kib():
    assert ">4</text>" in charts.threadgroup_map([timed(0)])


def test_infinite_errors_do_not_stop_the_page():
    assert charts.error_by_length([flash_tile_row(0, max_row_ulp="inf")]) is None
    report.render([flash_tile_row(0, status="wrong", max_row_ulp="inf", worst_ratio="nan")], [])


def test_outliers_and_throttling_stand_beside_the_time():
    noisy = timed(0)
    noisy["result"] |= {"outliers": 2, "throttled": True, "bimodal": True}
    html, markdown = report.render([noisy], [])
    for text in (html, markdown):
        assert "2 outliers of 9, kept" in text
        assert "let it cool and run again" in text
        assert "times in two states" in text
    assert "outliers" not in report.render([timed(0)], [])[0]


def test_a_row_without_an_expected_time_says_why():
    refused = {"modelled_chip": "M4", "modelled_refused": ["N: found 8, needs more", "D: found 60"]}
    bounded = flash_tile_row(0, modelled_least_us=1234.5, **refused)
    for text in report.render([bounded], []):
        assert "expected of an M4: at least 1234 us; no number: N: found 8, needs more; D" in text
    for text in report.render([flash_tile_row(0, **refused)], []):
        assert "expected of an M4: nothing; no number: N: found 8" in text


def test_a_time_below_the_models_bound_is_a_surprise():
    refused = {
        "modelled_chip": "M4",
        "modelled_refused": ["D: found 256"],
        "modelled_least_us": 9.0,
    }
    for time_us, wrong in ((8.0, True), (10.0, False)):
        row = flash_tile_row(0, "measured", time_us=time_us, **refused)
        row["device"] = {**row["device"], "name": "Apple M4"}
        for text in report.render([row], []):
            assert ("at least 9 us, a surprise: the time is below it" in text) == wrong
        elsewhere = {**row, "device": {**row["device"], "name": "NVIDIA H200"}}
        assert "surprise" not in report.model_notes(elsewhere)[0]


def test_superseded_findings_are_counted_and_not_shown():
    old, new = sample_finding(title="Old claim"), sample_finding(title="New claim")
    html, _ = report.render(
        [flash_tile_row(0)], [old, new.model_copy(update={"supersedes": old.id})]
    )
    assert "Old claim" not in html
    assert "1 earlier findings" in html


def test_an_effect_is_shown_with_its_interval():
    effect = Effect(name="rate", value=2.5, unit="TFLOP/s", low=2.25, high=2.75)
    html, markdown = report.render([flash_tile_row(0)], [sample_finding(effect=effect)])
    assert "2.25 to 2.75" in html
    assert "2.5 TFLOP/s" in markdown


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (1234567, "1,234,567"), (0.123456, "0.1235"), (12345.6, "12,346")],
)
def test_figures_are_written_in_few_digits(value, text):
    assert report.figures(value) == text


def test_an_empty_folder_still_has_a_report():
    html, markdown = report.render([], [])
    assert "None: the rows support no claim" in html
    assert "Findings (0)" in markdown


def test_a_table_without_rows_has_no_heading(monkeypatch):
    exhibits = [
        Table("Empty", "", ("a",), ()), SideBySide("Nothing", ("a", "b"), ()),
        Table("Full", "", ("a",), ((1,),)),
    ]  # fmt: skip
    prototype = types.SimpleNamespace(sections=lambda rows: exhibits)
    monkeypatch.setattr(report, "load", lambda name: prototype)
    html, text = report.render([flash_tile_row(0)], [])
    for page in (html, text):
        assert "Full" in page
        assert "Empty" not in page
        assert "Nothing</h2>" not in page

"""What a user may pass by mistake, or an attacker on purpose: one sentence, nothing else."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import attnproto
import numpy as np
import pytest
from attnproto import _core, cli
from attnproto.commands.run import run_plan
from attnproto.compiler.frontend import clang
from attnproto.compiler.ir.module import Module, inlined_lines
from attnproto.device import discovery
from attnproto.device.device import Dispatch
from attnproto.device.library import Call, Input, describe
from attnproto.errors import (
    ArchiveRefused,
    AttnprotoError,
    DeviceUnavailable,
    DispatchError,
    GpuOutOfMemory,
    KernelCompileError,
    UnsupportedProblem,
)
from attnproto.sweep.plan import make_plan
from attnproto.sweep.points import Sweep, SweepError, condition, parse_axis, parse_sweep, vary
from support import synthetic_prototype as synthetic

HALF = "\udcff"  # what Python makes of a byte that is not UTF-8
KERNEL = "kernel void k(device int* x [[buffer(0)]]) { x[0] = 1; }"


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def library(device):
    return device.library(KERNEL)


def sentence(caught):
    text = str(caught.value)
    assert text.startswith("[")
    assert "\n" not in text
    assert "needs" in text
    return text


@pytest.mark.parametrize("given", [None, 3, [None], ["x"], "x"])
def test_a_submission_of_no_dispatches_is_refused(device, given):
    with pytest.raises(DispatchError) as caught:
        device.submit(given)
    assert "needs a" in sentence(caught)


@pytest.mark.parametrize("odd", [None, 1, "x", np.array([True, False])])
@pytest.mark.parametrize("option", ["concurrent", "time_each", "barrier_before"])
def test_what_is_neither_true_nor_false_is_refused(device, library, option, odd):
    buffers, options = {0: np.zeros(1, np.int32)}, {option: odd}
    dispatch = Dispatch(library.pipeline("k"), 1, 1, buffers)
    if option == "barrier_before":
        dispatch, options = replace(dispatch, **options), {}
    with pytest.raises(DispatchError, match=f"found {option}=") as caught:
        device.submit([dispatch], **options)
    sentence(caught)


@pytest.mark.parametrize("room", [0, (), "", np.array([2, 1])])
def test_threadgroup_memory_that_is_no_dict_is_refused(device, library, room):
    dispatch = Dispatch(library.pipeline("k"), 1, 1, {0: np.zeros(1, np.int32)}, room)
    with pytest.raises(DispatchError, match="found threadgroup_bytes=") as caught:
        device.submit([dispatch])
    sentence(caught)


@pytest.mark.parametrize("view", [None, 3, "0"])
def test_a_view_that_is_no_collection_of_indices_is_refused(device, library, view):
    pipeline = library.pipeline("k")
    with pytest.raises(DispatchError, match="view=") as caught:
        device.submit([Dispatch(pipeline, 1, 1, {0: np.zeros(1, np.int32)}, view=view)])
    sentence(caught)


@pytest.mark.parametrize("size", [-1, 1.5, True, "8", [1, 2], 2**63, None])
def test_a_buffer_of_no_size_is_refused(device, size):
    with pytest.raises(DispatchError, match="needs an array, or a number of bytes") as caught:
        device.buffer(size)
    sentence(caught)


def test_a_buffer_larger_than_memory_is_no_bare_memory_error(device):
    with pytest.raises(GpuOutOfMemory, match=str(2**62)) as caught:
        device.buffer(2**62)
    sentence(caught)


@pytest.mark.parametrize(
    "parts",
    [
        {"name": HALF},
        {"constants": {HALF: 1}},
        {"linked": [HALF]},
        {"linked": None},
        {"linked": "name"},
        {"linked": [1]},
        {"private": {"f": None}},
        {"private": ["f"]},
        {"constants": 0},
        {"constants": np.array([1, 2])},
        {"archive": HALF},
        {"archive": 3},
    ],
    ids=repr,
)
def test_a_pipeline_that_cannot_be_described_is_refused(parts):
    with pytest.raises(KernelCompileError) as caught:
        describe(**{"name": "k", **parts})
    sentence(caught)


def test_texts_that_are_no_characters_are_refused_wherever_the_device_takes_one(device, library):
    for call in (
        lambda: device.library(KERNEL + "//" + HALF),
        lambda: library.pipeline("k").function_table([HALF]),
        lambda: library.pipeline("k").function_table(None),
        lambda: library.stitch({HALF: Call("f", Input(0))}),
        lambda: library.stitch({"f": Call(HALF, Input(0))}),
        lambda: library.stitch({"f": None}),
        lambda: library.stitch({"f": Call("f", 3)}),
        lambda: library.stitch(None),
    ):
        with pytest.raises(KernelCompileError) as caught:
            call()
        sentence(caught)


@pytest.mark.parametrize("path", ["{folder}", "{folder}/none", "/dev/zero", HALF, "a\0b", None, 3])
def test_what_is_no_archive_is_refused(device, tmp_path, path):
    path = path.format(folder=tmp_path) if isinstance(path, str) else path
    with pytest.raises(ArchiveRefused):
        attnproto.archive.load(path, device)
    with pytest.raises(ArchiveRefused, match="needs an archive"):
        attnproto.archive.use(path or 3, device)


@pytest.mark.parametrize("threads", ["0", "-1", "", "\u00b2", "9" * 30, "4097", "two", " 2"])
def test_an_odd_number_of_threads_is_refused(monkeypatch, threads):
    monkeypatch.setenv("ATTNPROTO_CPU_THREADS", threads)
    with pytest.raises(DeviceUnavailable, match="ATTNPROTO_CPU_THREADS") as caught:
        discovery.cpu_threads()
    sentence(caught)


@pytest.mark.parametrize("program", ["true", "/bin/false", "/tmp"])
def test_a_program_that_is_no_clang_is_refused(monkeypatch, program):
    from attnproto.compiler.frontend.clang import compiler

    monkeypatch.setenv("ATTNPROTO_CLANG", program)
    with pytest.raises(DeviceUnavailable, match="ATTNPROTO_CLANG=") as caught:
        compiler.__wrapped__()
    sentence(caught)


def test_a_text_that_clang_never_ends_with_is_refused(device, monkeypatch):
    monkeypatch.setattr(clang, "LONGEST_S", 2.0)
    with pytest.raises(KernelCompileError, match="has worked for 2 s") as caught:
        device.library("#pragma clang __debug overflow_stack\n" + KERNEL)
    sentence(caught)


ENDLESS = {
    "statements": ("x[0] += 1;", "A{0} " * 10, 9, "A9"),
    "expression": ("1", "(A{0} + A{0})", 40, "x[0] = A40;"),
}


@pytest.mark.parametrize(("first", "next_", "depth", "use"), ENDLESS.values(), ids=ENDLESS)
def test_a_text_that_macros_make_endless_is_refused(device, first, next_, depth, use):
    """A thousand million statements of ten lines; of what is left, clang writes 8 MiB."""
    more = [f"#define A{i + 1} {next_.format(i)}" for i in range(depth)]
    text = "\n".join([f"#define A0 {first}", *more, KERNEL.replace("}", f"{use} }}")])
    with pytest.raises(KernelCompileError, match="macros and includes make more than") as caught:
        device.library(text)
    sentence(caught)


@pytest.mark.skipif(sys.platform != "linux", reason="a child's RLIMIT_AS is set on Linux only")
def test_a_text_that_fills_the_memory_is_refused(device, monkeypatch, tmp_path):
    monkeypatch.setattr(clang, "MOST_MEMORY", 1 << 29)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    pack = "template <typename T, T... I> struct seq {};"
    pack += "__make_integer_seq<seq, int, 100000000> all;"
    with pytest.raises(KernelCompileError, match="GiB of memory") as caught:
        device.library(pack + KERNEL)
    sentence(caught)
    assert not list(tmp_path.iterdir())  # clang's report of its own end, which asks to be sent


@pytest.mark.skipif(sys.platform != "linux", reason="a child's RLIMIT_AS is set on Linux only")
@pytest.mark.skipif(
    hasattr(_core, "metal_double"), reason="the double's address sanitizer maps terabytes"
)
def test_a_process_that_may_have_less_memory_than_clang_compiles(tmp_path):
    code = f"""
import attnproto, resource
resource.setrlimit(resource.RLIMIT_AS, ({clang.MOST_MEMORY - 4096},) * 2)
print(attnproto.open_device("cpu").library({KERNEL!r}).functions())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        env={**os.environ, "ATTNPROTO_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout == "['k']\n", done.stderr[-500:]


@pytest.mark.parametrize("depth", [23, 500])
def test_a_text_that_inlining_makes_endless_is_refused(device, depth):
    tree = """
    template <int N> int f(int x) { return f<N - 1>(x + N) * f<N - 1>(x - N); }
    template <> int f<0>(int x) { return x; }
    """
    kernel = KERNEL.replace("x[0] = 1;", "x[0] = f<%d>(x[0]);")
    with pytest.raises(KernelCompileError, match="more than 16777216 instructions") as caught:
        device.library(tree + kernel % depth).pipeline("k")
    sentence(caught)
    x = np.full(1, 2, np.int32)
    pipeline = device.library(tree + kernel % 2).pipeline("k")
    device.run(pipeline, threadgroups=1, threads=1, buffers={0: x})
    assert x[0] == (4 + 1) * (4 - 1) * (0 + 1) * (0 - 1)


def test_a_text_of_many_levels_is_refused(device):
    text = "".join(f"namespace n{n} {{ " for n in range(3000)) + "}" * 3000 + KERNEL
    with pytest.raises(KernelCompileError, match="too deep in one another") as caught:
        device.library(text).pipeline("k")
    sentence(caught)
    assert [one.severity for one in attnproto.lint(text)] == ["error"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [("int", float("nan")), ("long", float("inf")), ("half", 65520), ("float", -1e39)],
)
def test_a_constant_that_its_type_does_not_hold_is_refused(device, kind, value):
    text = f"constant {kind} c [[function_constant(0)]]; " + KERNEL.replace("= 1", "= int(c)")
    with pytest.raises(KernelCompileError, match=re.escape(f"({kind}) found {value}")) as caught:
        device.library(text).pipeline("k", constants={0: value})
    sentence(caught)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 65519])
def test_a_constant_may_be_infinite_where_that_is_said(device, value):
    text = "constant half c [[function_constant(0)]]; kernel void k(device half* x [[buffer(0)]])"
    out = np.zeros(1, np.float16)
    pipeline = device.library(text + "{ x[0] = c; }").pipeline("k", constants={0: value})
    device.run(pipeline, threadgroups=1, threads=1, buffers={0: out})
    np.testing.assert_array_equal(out[0], np.float16(value))


@pytest.mark.parametrize("path", [3, None, [], b"x", "\ud800", "a\0b"])
def test_a_path_that_is_none_is_refused(device, path):
    with pytest.raises(ArchiveRefused) as caught:
        attnproto.archive.load(path, device)
    sentence(caught)


def test_a_message_that_quotes_half_a_character_can_be_printed(device):
    with pytest.raises(KernelCompileError) as caught:
        device.metallib("\ud800")
    sentence(caught)
    assert r"\ud800" in str(caught.value).encode().decode()


def test_lines_of_a_kernel_that_calls_a_function_twice_count_twice():
    body = "define i32 @{}() {{\n{}  ret i32 0\n}}"
    call = "  %{0} = call i32 @{0}()\n"
    functions = {
        "@leaf": body.format("leaf", ""),
        "@twice": body.format("twice", call.format("leaf") * 2),
        "@root": body.format("root", call.format("twice") * 3),
    }
    module = Module(functions, {}, [])
    assert inlined_lines(module, "@leaf") == 2
    assert inlined_lines(module, "@twice") == 4 + 2 * 2
    assert inlined_lines(module, "@root") == 5 + 3 * 8
    functions["@twice"] = functions["@twice"].replace("() {", "() noinline {")
    assert inlined_lines(module, "@root") == 4 + 2 * 2  # it is the largest itself
    functions["@leaf"] = body.format("leaf", call.format("twice"))  # each calls the other
    functions["@twice"] = body.format("twice", call.format("leaf") * 2)
    assert inlined_lines(module, "@root") == 5 + 3 * (4 + 2 * 3)


def test_masked_arrays_are_refused_where_the_host_reads_them_itself():
    q, pages = np.ones((1, 1, 2, 64), np.float32), np.ones((4, 1, 16, 64), np.float32)
    table, lengths = np.arange(4, dtype=np.int32)[None], np.array([20], np.int32)
    for masked in ((np.ma.array(table, mask=True), lengths), (table, np.ma.array(lengths, mask=1))):
        with pytest.raises(UnsupportedProblem, match="masked array") as caught:
            attnproto.paged_attention(q, pages, pages, *masked)
        sentence(caught)


@pytest.mark.parametrize("partition", [2**31, 2**32, 2**63, np.int64(2**31)])
def test_a_partition_beyond_all_keys_is_one_partition(partition):
    q, pages = np.ones((1, 1, 2, 64), np.float32), np.ones((4, 1, 16, 64), np.float32)
    table, lengths = np.arange(4, dtype=np.int32)[None], np.array([20], np.int32)
    undivided = attnproto.paged_attention(q, pages, pages, table, lengths)
    again = attnproto.paged_attention(q, pages, pages, table, lengths, partition=partition)
    assert np.array_equal(undivided, again)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 300 + "D" + ")" * 300,
        "not " * 5000 + "D",
        "9" * 5000 + " == D",
        "D == \0",
        f"D == '{HALF}'",
        3,
    ],
    ids=["brackets", "nots", "digits", "nul", "surrogate", "number"],
)
def test_a_condition_that_cannot_be_read_gets_a_short_sentence(text):
    with pytest.raises(SweepError) as caught:
        condition(text)
    assert len(sentence(caught)) < 600


@pytest.mark.parametrize(
    "text",
    ['"x" * 99999999999 == D', "(1,) * 9999999999 == D", '"%999999999d" % D == 1', "D % 0", "-'x'",
     '"a" + D'],
)  # fmt: skip
def test_a_condition_computes_with_numbers_only(text):
    with pytest.raises(SweepError, match="cannot be computed") as caught:
        condition(text)({"D": 64})
    sentence(caught)


@pytest.mark.parametrize(
    "text",
    [
        "sweep = [3]",
        "sweep = " + "[" * 100_000,
        '[[sweep]]\nprototype = "flash"\naxes = 3',
        '[[sweep]]\nprototype = "flash"\naxes = {D = "64"}',
    ],
)
def test_a_sweep_that_is_none_gets_a_short_sentence(text):
    with pytest.raises(SweepError) as caught:
        parse_sweep(text)
    assert len(sentence(caught)) < 600


def test_a_sweep_of_more_points_than_anyone_runs_is_refused_before_it_is_made():
    axes = {f"a{i}": list(range(8)) for i in range(30)}
    for make in (lambda: Sweep("flash", axes).points(), lambda: vary([{}], axes)):
        with pytest.raises(SweepError, match="needs at most 1000000") as caught:
            make()
        sentence(caught)


@pytest.mark.parametrize("value", [[64], {"a": 1}, float("nan"), float("inf"), HALF, object()])
def test_a_point_holds_what_a_row_can_hold(value):
    from attnproto.sweep.points import check_points

    with pytest.raises(SweepError, match="needs a finite number, a text") as caught:
        check_points("mine:IT", [{"D": value}], [], ())
    sentence(caught)


def test_a_deep_word_of_an_axis_is_a_word():
    assert parse_axis("D=" + "[" * 100_000)[1] == ["[" * 100_000]


@pytest.mark.parametrize("name", ["os:path", ".:x", ":", "this_raises:IT", f"{HALF}:IT"])
def test_a_prototype_that_is_none_is_refused(tmp_path, monkeypatch, name):
    (tmp_path / "this_raises.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AttnprotoError, match="found no prototype") as caught:
        make_plan(mode="quick", device="cpu", only=(name,), opener=synthetic.OPENER)
    sentence(caught)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limit_s": float("inf")}, "--limit-s inf with 1 jobs"),
        ({"limit_s": 1e9}, "--limit-s 1e"),
        ({"jobs": 10**20}, "--jobs 1000"),
        ({"point": "[" * 100_000}, "--point"),
        ({"point": "[]"}, "a JSON object or a list"),
    ],
    ids=["endless", "long", "jobs", "deep", "none"],
)
def test_an_option_out_of_bounds_gets_a_short_sentence(options, said):
    with pytest.raises(AttnprotoError) as caught:
        make_plan(
            mode="quick", device="cpu", only=(synthetic.NAME,), opener=synthetic.OPENER, **options
        )
    assert said in sentence(caught)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--sweep", "bad"],
        ["lint", "bad"],
        ["compile", "bad"],
        ["report", "folder"],
        ["compare", "folder", "folder"],
        ["kb", "import", "bad", "--db", "x.db"],
        ["lint", "a\0b"],
        ["compare", "run", "run", "--margin", "nan"],
        ["compare", "run", "run", "--margin=-1"],
        ["selftest", "--seed=-1"],
    ],
    ids=" ".join,
)
def test_a_command_on_a_file_that_is_no_text_gets_a_sentence(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("bad").write_bytes(b"\xff\xfe kernel\n")
    for name, content in (("folder", b"\xff\n"), ("run", b"")):
        Path(name).mkdir()
        Path(name, "points.jsonl").write_bytes(content)
    assert cli.guarded(cli.app, words) == cli.MISUSED
    said = capsys.readouterr().err
    assert said.startswith("[")
    assert said.count("\n") == 1


def shell(line):
    own = f"{sys.executable} -m attnproto"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.format(attnproto=own)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_reader_that_goes_away_ends_a_command_quietly():
    # The list is short, so the reader leaves before a line is written.
    done = shell("{attnproto} run --list | true")
    assert (done.returncode, done.stderr) == (cli.UNREAD, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_gets_a_sentence():
    done = shell("{attnproto} run --list > /dev/full")
    assert done.returncode == cli.MISUSED
    assert done.stderr.startswith("[cli] found [Errno 28] No space left on device, needs")
    assert done.stderr.count("\n") == 1


def test_a_sentence_with_half_a_character_can_be_printed():
    done = subprocess.run(
        [sys.executable, "-m", "attnproto", "run", "--only", os.fsencode(HALF)],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == cli.MISUSED
    assert done.stderr.startswith(b"[prototypes] found prototype '\\udcff'")


def test_a_file_whose_name_is_no_text_is_named_all_the_same(tmp_path):
    path = tmp_path / f"{HALF}.metal"
    path.write_text(KERNEL.replace("x[0]", "y[0]"))
    done = subprocess.run(
        [sys.executable, "-m", "attnproto", "lint", path], capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (cli.FAILED, b"")
    assert b"\\udcff.metal:1:46: error: use of undeclared identifier 'y'" in done.stdout


def test_the_same_error_of_many_points_is_said_once_and_counted(tmp_path, capsys):
    options = {"mode": "quick", "device": "cpu", "only": (synthetic.NAME,)}
    axes = ("n=0,1,2,3,4", "does=raises,works,errs")
    run_plan(make_plan(**options, out=tmp_path / "out", opener=synthetic.OPENER, axis=axes))
    said = capsys.readouterr().out
    assert said.count("needs an even n; pass n=4") == 2  # with its point, and with the count
    assert f"5 points of {synthetic.NAME} error: [synthetic] found n=3" in said
    assert f"5 points of {synthetic.NAME} wrong: off by one\n" in said
    run_plan(
        make_plan(
            **options, out=tmp_path / "one", opener=synthetic.OPENER,
            point='{"n": 1, "does": "raises"}',
        )
    )  # fmt: skip
    assert "points of" not in capsys.readouterr().out

"""Kernels that Apple's compiler has compiled: the container, their modules, and running them.

The modules are written by hand (tests/air), and so is the container (support/metallibs.py).
"""

from __future__ import annotations

import re
import struct

import attnproto
import numpy as np
import pytest
from attnproto import Dispatch, cli
from attnproto.compiler.air import lift, module
from attnproto.compiler.air.container import ListedConstant, Metallib
from attnproto.compiler.frontend import compiled_kernel
from attnproto.compiler.target import host_target
from attnproto.compiler.targets.nvptx import PtxFrontEnd
from attnproto.device.library import describe
from attnproto.errors import KernelCompileError, ValidationError
from attnproto.measure.dynamic_counts import count, counting_device
from hypothesis import given, settings
from hypothesis import strategies as st
from support import metallibs
from support.metallibs import Entry


@pytest.fixture(scope="module")
def content():
    return metallibs.two_kernels()


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def library(device, content):
    return device.metallib(content)


# ---- the container


def test_it_lists_functions_constants_and_versions(content):
    read = Metallib(content)
    assert read.kernels() == ["scale", "turn"]
    assert read.constants("scale") == [
        ListedConstant("shifted", "bool", 3),
        ListedConstant("times", "int", 7),
        ListedConstant("unread", "int", 8),
    ]
    one = read.function("turn")
    assert (one.kind, one.air, one.language) == ("kernel", (2, 6), (3, 1))


def test_bitcode_comes_without_its_wrapper(content):
    read = Metallib(content)
    assert read.bitcode("scale") == metallibs.bitcode(metallibs.kernel("scale"))
    assert read.bitcode("turn") == metallibs.bitcode(metallibs.kernel("turn"))


def test_a_file_is_read_as_its_content_is(content, tmp_path):
    file = tmp_path / "two.metallib"
    file.write_bytes(content)
    assert Metallib(file).bitcode("scale") == Metallib(content).bitcode("scale")


def test_functions_of_other_kinds_are_no_kernels():
    read = Metallib(metallibs.metallib({"f": Entry(b"code", kind=4), "g": Entry(b"", kind=77)}))
    assert read.kernels() == []
    assert [one.kind for one in read.functions.values()] == ["visible", "type 77"]


def one(**fields):
    return metallibs.metallib({"f": Entry(b"code", fields=fields)})


FAR = struct.pack("<3Q", 0, 0, 1 << 63)
DAMAGED = {
    "nothing": (b"", "a file of 0 bytes that begins with b''"),
    "another kind of file": (b"\x7fELF" + bytes(200), "begins with b'\\x7fELF'"),
    "a size that is not the file's": (
        metallibs.metallib({}, size=7),
        "needs the 7 that its head says",
    ),
    "a list past the end": (metallibs.metallib({}, functions_offset=1 << 40), "the function list"),
    "bitcode past the end": (metallibs.metallib({}, bitcode_size=9), "bitcode at"),
    "metadata past the end": (metallibs.metallib({}, public_size=1 << 60), "public metadata at"),
    "more functions than there are": (metallibs.metallib({}, count=3), "function 0 at"),
    "no name": (one(NAME=None), "function 0 without a name"),
    "a name that does not end": (one(NAME=b"f"), "function 0 without a name"),
    "a name that is no UTF-8": (one(NAME=b"\xff\0"), "needs UTF-8"),
    "no hash": (one(HASH=None), "0 bytes of HASH for function 0"),
    "a short version": (one(VERS=b"12"), "2 bytes of VERS"),
    "an offset past the end": (one(OFFT=FAR), "'f' at 922337203685477"),
    "bitcode longer than the section": (one(MDSZ=struct.pack("<Q", 5)), "'f' at"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_container_is_refused_in_a_sentence(name):
    content, said = DAMAGED[name]
    with pytest.raises(KernelCompileError, match=r"\[metallib\] found .*, needs .*; ") as refused:
        Metallib(content)
    assert said in str(refused.value)


def test_two_functions_of_one_name_are_refused():
    twice = metallibs.metallib({"f": Entry(b""), "g": Entry(b"", fields={"NAME": b"f\0"})})
    with pytest.raises(KernelCompileError, match="two functions named 'f'"):
        Metallib(twice)


def test_a_field_that_passes_its_entry_is_refused(content):
    at = content.index(b"HASH") + 4
    with pytest.raises(KernelCompileError, match="a field past its end"):
        Metallib(content[:at] + b"\xff\xff" + content[at + 2 :])


def test_bitcode_with_another_hash_is_refused(content):
    damaged = content[:-1] + bytes([content[-1] ^ 1])
    read = Metallib(damaged)
    read.bitcode("scale")
    with pytest.raises(KernelCompileError, match="bitcode of 'turn' with another SHA-256"):
        read.bitcode("turn")


def test_a_wrapper_that_points_outside_is_refused():
    inside = struct.pack("<5I", 0x0B17C0DE, 0, 20, 5, 0) + b"code"
    with pytest.raises(KernelCompileError, match="a wrapper that puts bitcode of 'f' at 20 to 25"):
        Metallib(metallibs.metallib({"f": Entry(inside)})).bitcode("f")


def test_constants_that_end_early_are_refused(content):
    at = content.index(b"CNST") + 6
    damaged = content[:at] + b"\xff\xff" + content[at + 2 :]
    with pytest.raises(KernelCompileError, match="function constants of 'scale' that end early"):
        Metallib(damaged).constants("scale")


def test_an_unknown_name_brings_those_that_have_it_inside(content):
    with pytest.raises(KernelCompileError, match=r"no function 'cal' .* such as scale"):
        Metallib(content).function("cal")


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(KernelCompileError, match="unreadable"):
        Metallib(tmp_path / "none.metallib")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_damage_brings_anything_but_a_sentence(data):
    content = bytearray(metallibs.metallib({
        "f": Entry(metallibs.wrapped(b"code"), {"c": (1, 53)}), "g": Entry(b"other"),
    }))  # fmt: skip
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        size = data.draw(st.sampled_from((1, 2, 4, 8)))
        value = data.draw(
            st.sampled_from((0, 1, 255, 2**31, 2**63, 2**64 - 1)) | st.integers(0, 300)
        )
        content[at : at + size] = (value % 256**size).to_bytes(size, "little")
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    said = "[metallib] found "
    try:
        read = Metallib(bytes(content))
        for name in read.functions:
            read.constants(name)
            read.bitcode(name)
    except KernelCompileError as error:
        said = str(error)
    assert said.startswith("[metallib] found ")


# ---- modules


def test_a_modules_metadata_is_read(content):
    read = module.read(Metallib(content).bitcode("scale"))
    assert (read.symbol, read.max_threads, read.flushes_denormals) == ("@scale", 96, True)
    assert [a.declaration for a in read.arguments] == [
        "device const float* x [[buffer(0)]]",
        "device float* y [[buffer(1)]]",
        "constant float& factor [[buffer(2)]]",
        "device const float* shift [[buffer(5)]] [[function_constant(shifted)]]",
        "uint i [[thread_position_in_grid]]",
    ]
    assert [(c.name, c.index, c.type) for c in read.constants.values()] == [
        ("shifted", 3, "bool"),
        ("times", 7, "int"),
        ("unread", 8, "int"),
    ]


def test_threadgroup_memory_and_options_are_read(content):
    read = module.read(Metallib(content).bitcode("turn"))
    assert list(read.threadgroup_bytes.values()) == [128, 4]
    assert (read.options, read.flushes_denormals, read.max_threads) == ((), False, None)
    assert read.arguments[1].declaration == "threadgroup int* given [[threadgroup(1)]]"


def test_a_name_that_needs_quotes_is_found():
    text = metallibs.kernel("turn").replace("@_ZZ4turnE6places", '@"turn places"')
    text = re.sub("@turn(?=[(,])", '@"turn<1>"', text)
    read = module.read(metallibs.bitcode(text))
    assert read.threadgroup_bytes == {'@"turn places"': 128, "@_ZZ4turnE3one.0": 4}
    assert compiled_kernel.instance_of(read).name == "turn<1>"
    assert "call ptr addrspace(3)" in lift.lift(read, compiled_kernel.BUILTINS).text


def test_bitcode_that_llvm_does_not_read_is_refused():
    with pytest.raises(KernelCompileError, match=r"bitcode that LLVM \d+.* does not read"):
        module.read(b"BC\xc0\xdenothing")


CHANGED = {
    "no kernel": ("!air.kernel = !{!4}", "", "a module of 0 kernels"),
    "an argument of an unknown space": (
        '!"air.address_space", i32 2,', '!"air.address_space", i32 5,',
        "argument 'factor' in address space 5",
    ),
    "a position that no device tells": (
        "air.thread_position_in_grid", "air.render_target_index", r"with \[\[render_target_index",
    ),
    "fewer arguments in the metadata": (
        "!6 = !{!7, !8, !9, !10, !12}", "!6 = !{!7, !8}", "2 arguments .* function that has 5",
    ),
    "a function of a library that is not here": (
        "air.exp.f32", "air.sample_texture_2d.f32", "a call of air.sample_texture_2d.f32",
    ),
    "a function of another module": ("air.exp.f32", "helper", "a call of helper, which .* only"),
    "a function with other operands": (
        "@air.exp.f32(float", "@air.ldexp.f32(float", "a call of air.ldexp.f32 with float, float",
    ),
    "assembly": (
        "  ret float %4", '  call void asm sideeffect "nop", ""()\n  ret float %4',
        "assembly in @times_of",
    ),
    "a constant whose address is taken": (
        "  %8 = load float", "  store ptr addrspace(2) @_ZL5times, ptr addrspace(1) %7\n"
        "  %8 = load float", "using @_ZL5times otherwise than by its value",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_what_is_not_lifted_is_named(name):
    before, after, said = CHANGED[name]
    text = metallibs.kernel("scale")
    assert before in text
    content = metallibs.bitcode(text.replace(before, after))
    with pytest.raises(KernelCompileError, match=rf"\[air\] found .*{said}.*, needs .*; "):
        compiled_kernel.to_ir(module.read(content), host_target())


def test_each_definition_stands_for_one_function():
    from attnproto.compiler.air.intrinsics import definitions

    symbols = [one.symbol for one in definitions().values()]
    assert len(set(symbols)) == len(symbols) > 1000


def test_what_a_loop_says_is_kept_but_not_that_it_ends(content):
    text = lift.lift(module.read(Metallib(content).bitcode("scale")), compiled_kernel.BUILTINS).text
    assert re.search(r"^!(\d+) = distinct !\{!\1, !\d+\}$", text, re.M)
    assert '{!"llvm.loop.unroll.full"}' in text
    assert "mustprogress" not in text
    assert "null_pointer_is_valid" in text


def test_a_getter_asks_for_no_constant_on_which_it_does_not_depend(content):
    text = lift.lift(module.read(Metallib(content).bitcode("scale")), compiled_kernel.BUILTINS).text
    getter = text[text.index("define i32 @air.state._ZL5times()") :].split("\n}")[0]
    assert "@times" in getter
    assert "@unread" not in getter


# ---- running


GIVEN = {"shifted": True, "times": 3}


def run_scale(device, library, constants, count=70):
    x = np.linspace(-2, 2, count, dtype=np.float32)
    shift = np.arange(count, dtype=np.float32)
    y = np.full(count + 3, np.nan, np.float32)
    buffers = {0: x, 1: y, 2: np.float32(1.25)}
    if constants["shifted"]:
        buffers[5] = shift
    pipeline = library.pipeline("scale", constants)
    device.run(pipeline, threadgroups=1, threads=count, buffers=buffers)
    assert np.isnan(y[count:]).all()
    wanted = 1.25 * np.exp(x.astype(np.float64)) + shift * constants["shifted"]
    np.testing.assert_allclose(y[:count], wanted * constants["times"], rtol=1e-6)
    return pipeline


@pytest.mark.parametrize("shifted", [True, False])
def test_a_kernel_runs_with_its_constants(device, library, shifted):
    pipeline = run_scale(device, library, {"shifted": shifted, "times": 3})
    assert (pipeline.max_threads, pipeline.engine) == (96, "lockstep")


def test_memory_that_the_whole_machine_sees_is_read_written_and_fenced(device):
    """As MSL 3.2's ``coherent(system)`` and fences of the system's scope are compiled."""
    load, store = "load.system_coherent.volatile.f32.p1f32", "store.system_coherent.f32.p1f32"
    memory, text = "ptr addrspace(1)", metallibs.kernel("scale")
    for plain, call in {
        f"load float, {memory} %7, align 4, !tbaa !30":
            f"tail call float @air.{load}({memory} noundef nonnull align 4 %7)",
        f"store float %19, {memory} %20, align 4":
            f"tail call void @air.{store}(float %19, {memory} noundef nonnull align 4 %20)\n"
            "  tail call void @air.atomic.fence(i32 1, i32 5, i32 3)",
        "declare float @air.exp.f32":
            f"declare float @air.{load}({memory})\ndeclare void @air.{store}(float, {memory})\n"
            "declare void @air.atomic.fence(i32, i32, i32)\ndeclare float @air.exp.f32",
    }.items():  # fmt: skip
        assert text.count(plain) == 1
        text = text.replace(plain, call)
    content = metallibs.metallib({
        "scale": Entry(metallibs.bitcode(text), metallibs.SCALE_CONSTANTS)
    })  # fmt: skip
    run_scale(device, device.metallib(content), GIVEN)
    (written,) = (
        line
        for line in compiled_kernel.to_ir(
            module.read(metallibs.bitcode(text)), host_target()
        ).splitlines()
        if "fence seq_cst" in line
    )
    assert written.strip() == "fence seq_cst"


def test_an_absent_argument_is_not_asked_for_and_one_that_is_there_is(device, library):
    y = np.zeros(1, np.float32)
    with pytest.raises(attnproto.DispatchError, match="shift"):
        device.run(
            library.pipeline("scale", GIVEN), threadgroups=1, threads=1,
            buffers={0: y.copy(), 1: y, 2: np.float32(1)},
        )  # fmt: skip


def test_a_constant_that_the_kernel_reads_must_be_given(library):
    with pytest.raises(KernelCompileError, match=r"no value for function constant 'times'"):
        library.pipeline("scale", {"shifted": True})


@pytest.mark.parametrize(
    ("wide", "other", "turned"), [(4, False, True), (9, False, False), (9, True, True)]
)
def test_a_constructor_with_branches_decides(device, library, wide, other, turned):
    constants = {0: wide, "other": other}
    x = np.arange(32, dtype=np.int32) * 10
    before = x.copy()
    device.run(
        library.pipeline("turn", constants), threadgroups=1, threads=32, buffers={2: x},
        threadgroup_bytes={1: 128},
    )  # fmt: skip
    kept = before[::-1] if turned else before
    np.testing.assert_array_equal(x, kept + before[1] + 200 + 9 + 7 + 0 + np.arange(32))


def test_threadgroup_variables_are_placed(library):
    pipeline = library.pipeline("turn", {0: 4, 1: False})
    assert pipeline.static_threadgroup_bytes == 132


def test_kernels_compile_to_ptx(content):
    front_end = PtxFrontEnd("sm_90")
    for name, constants in (("scale", GIVEN), ("turn", {"wide": 4, "other": False})):
        text = compiled_kernel.text_of(Metallib(content).bitcode(name))
        code = front_end.compile(text, describe(name, constants)).code.decode()
        assert ".visible .entry attn_launch_0" in code
        assert ("bar.sync" in code) == (name == "turn")


def test_a_product_is_fused_where_the_module_says(content, capsys, tmp_path):
    file = tmp_path / "two.metallib"
    file.write_bytes(content)
    words = ["--kernel", "scale", "--constant", "times=1", "--constant", "shifted=true"]
    assert cli.guarded(cli.app, ["compile", str(file), *words, "--stop-after", "contract_fma"]) == 0
    shown = capsys.readouterr().out
    assert "fmuladd" not in shown
    assert shown.count("call float @llvm.fma.f32(") + shown.count(" fadd ") == 1


def test_live_registers_are_told_by_whose_ir_they_are_of(content):
    device = counting_device()
    text = device.library(
        "kernel void scale(device float* y [[buffer(0)]]) { y[0] = y[1] + y[2] * y[3]; }"
    )
    x = np.zeros(70, np.float32)
    compiled = device.metallib(content).pipeline("scale", {"shifted": False, "times": 3})
    buffers = {0: x, 1: x.copy(), 2: np.float32(1)}
    dispatches = [
        Dispatch(text.pipeline("scale"), 1, 32, {0: x}), Dispatch(compiled, 1, 70, buffers),
    ]  # fmt: skip
    each = [count(device, [one]).registers_by_front_end for one in dispatches]
    assert [*each[0], *each[1]] == ["clang", "Apple"]
    both = count(device, dispatches)
    assert both.registers_by_front_end == each[0] | each[1]
    assert both.live_registers == max(both.registers_by_front_end.values())


@pytest.fixture(scope="module")
def validating():
    return attnproto.open_device("cpu", validate=True)


def test_validation_names_the_argument_in_the_place_of_a_line(validating, content):
    x, y = np.zeros(70, np.float32), np.zeros(69, np.float32)
    pipeline = validating.metallib(content).pipeline("scale", {"shifted": False, "times": 1})
    with pytest.raises(ValidationError) as raised:
        validating.run(pipeline, threadgroups=1, threads=70, buffers={0: x, 1: y, 2: np.float32(1)})
    assert (raised.value.kind, raised.value.parties[0].line) == ("out-of-bounds", 0)
    assert "writes in `device float* y [[buffer(1)]]`" in str(raised.value)


def test_validation_passes_what_is_right_and_names_threadgroup_variables(validating, content):
    library = validating.metallib(content)
    run_scale(validating, library, GIVEN)
    without = metallibs.kernel("turn").replace(
        "tail call void @air.wg.barrier(i32 2, i32 1) #3", ""
    )
    racing = metallibs.metallib({"turn": Entry(metallibs.bitcode(without))})
    dispatch = {"threadgroups": 1, "threads": 32, "threadgroup_bytes": {1: 128}}
    right = library.pipeline("turn", {0: 4, 1: False})
    x = np.arange(32, dtype=np.int32)
    validating.run(right, buffers={2: x.copy()}, **dispatch)
    wrong = validating.metallib(racing).pipeline("turn", {0: 4, 1: False})
    with pytest.raises(ValidationError, match="the threadgroup memory `threadgroup places`"):
        validating.run(wrong, buffers={2: x}, **dispatch)


def test_pipelines_of_a_metallib_are_archived_and_found(device, library, tmp_path):
    builder = attnproto.archive.build(device)
    builder.add(library, "scale", GIVEN)
    archive = builder.save(tmp_path / "one.attnproto")
    assert archive.manifest["pipelines"][0]["constants"] == GIVEN
    again = library.pipeline("scale", GIVEN, archive=archive, fail_on_miss=True)
    assert again.cached


def test_a_metallib_cannot_be_stitched(library):
    with pytest.raises(KernelCompileError, match=r"\[stitch\] found functions of a metallib"):
        library.stitch({})


@pytest.mark.parametrize("source", [3, None, ["two.metallib"]])
def test_what_is_no_file_and_no_bytes_is_refused(device, source):
    with pytest.raises(KernelCompileError, match="needs a file or its content"):
        device.metallib(source)


def test_a_damaged_stand_in_is_refused(device):
    with pytest.raises(KernelCompileError, match="no bitcode in letters"):
        device.library("#!air\n???").functions()


# ---- the command line


def test_the_command_lists_and_describes(content, tmp_path, capsys):
    file = tmp_path / "two.metallib"
    file.write_bytes(content)
    assert cli.guarded(cli.app, ["metallib", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"2 functions in {file}"
    assert lines[2].startswith("turn  kernel  AIR 2.6  MSL 3.1  ")
    assert lines[2].endswith("  wide=int(0)  other=bool(1)")
    assert cli.guarded(cli.app, ["metallib", str(file), "--kernel", "turn"]) == 0
    shown = capsys.readouterr().out
    for line in (
        "threadgroup int* given [[threadgroup(1)]]  // 4 bytes or more",
        "constant bool other [[function_constant(1)]]",
        "threadgroup variables: 144 bytes at most",
        "denormal numbers: kept",
    ):
        assert f"  {line}\n" in shown


def test_compile_needs_the_kernels_name_where_there_are_two(content, tmp_path, capsys):
    file = tmp_path / "two.metallib"
    file.write_bytes(content)
    assert cli.guarded(cli.app, ["compile", str(file)]) != 0
    assert "2 kernels in the file, needs one; pass --kernel, one of scale, turn" in (
        capsys.readouterr().err
    )

"""The reader of code inside functions: what it reads it prints, what it does not know it says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from attnproto.compiler.ir.effects import may_change_memory, written
from attnproto.compiler.ir.function import Function, address, map_functions, named
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.runtime_calls import ANY_MEMORY
from attnproto.compiler.ir.types import Unreadable, access_bytes, register_bits, size_of
from attnproto.compiler.pass_manager import Kernel, Pass, PassManager, on_text
from attnproto.compiler.passes.number_rendezvous import number_rendezvous
from attnproto.errors import InternalError

FUNCTION = """\
define void @f(ptr addrspace(1) noundef %0, i32 range(i32 0, 9) %1) #0 {
  %3 = icmp slt i32 %1, 4
  switch i32 %1, label %9 [
    i32 0, label %4
    i32 1, label %"a b"
  ], !prof !3

4:                                                ; preds = %2
  %5 = getelementptr inbounds nuw <3 x float>, ptr addrspace(1) %0, i32 %1
  %6 = getelementptr i8, ptr addrspace(1) %5, i64 -12
  %7 = tail call fast float @"g h"(float noundef 1.0, ptr addrspace(1) align 4 %6) #1, !dbg !7
  br label %9

"a b":                                            ; preds = %2
  %8 = load atomic i32, ptr addrspace(1) %0 monotonic, align 4, !tbaa !9
  br i1 %3, label %4, label %9

9:                                                ; preds = %"a b", %4, %2
  %10 = phi float [ %7, %4 ], [ 0.000000e+00, %2 ], [ 1.0, %"a b" ]
  ret void
}"""


def test_a_function_is_printed_as_it_was_read():
    assert "\n".join(Function(FUNCTION.split("\n")).lines()) == FUNCTION


def test_blocks_lead_where_their_ends_say():
    function = Function(FUNCTION.split("\n"))
    assert {name: block.successors for name, block in function.blocks.items()} == {
        "2": ["9", "4", '"a b"'], "4": ["9"], '"a b"': ["4", "9"], "9": []
    }  # fmt: skip
    assert function.reachable(["4"]) == {"4", "9"}
    assert function.parameters >= {"%0", "%1"}
    assert function.definitions["%10"].sources == ["4", "2", '"a b"']


def test_an_instruction_tells_what_is_in_it():
    values = Function(FUNCTION.split("\n")).definitions
    assert (values["%7"].callee, values["%7"].type, values["%7"].flags) == (
        '@"g h"', "float", ["tail", "fast"]
    )  # fmt: skip
    assert values["%7"].operands == [("float", "1.0"), ("ptr addrspace(1)", "%6")]
    assert values["%7"].render(["%x", "%y"], "%z").startswith('%z = tail call fast float @"g h"(')
    assert (values["%8"].type, values["%8"].flags, values["%8"].align) == ("i32", ["atomic"], 4)
    assert (values["%3"].type, values["%3"].predicate) == ("i1", "slt")


@pytest.mark.parametrize(
    ("line", "kind", "values"),
    [
        ("  %x = extractvalue { i32, i1 } %p, 1, !dbg !4", "i1", ["%p"]),
        ("  %x = extractvalue { <2 x float>, [2 x i8] } %p, 1, 0", "i8", ["%p"]),
        ("  %x = tail call fast noundef addrspace(4) double %f(double noundef %y) #7", "double",
         ["%f", "%y"]),
        ("  %x = call range(i32 0, 33) i32 @llvm.cttz.i32(i32 %y, i1 true)", "i32", ["%y", "true"]),
        (
            "  call void @f(ptr getelementptr inbounds nuw (i8, ptr @s, i64 8), i32 1)", "void",
            ["getelementptr inbounds nuw (i8, ptr @s, i64 8)", "1"],
        ),
        ("  %x = shufflevector <2 x i8> %a, <2 x i8> poison, <4 x i32> splat (i32 1)", "<4 x i8>",
         ["%a", "poison"]),
        ("  %x = icmp samesign ult <2 x i32> %a, splat (i32 7)", "<2 x i1>",
         ["%a", "splat (i32 7)"]),
        ('  %x = call { i32, i32 } asm "mov, !x;", "=r,=r,l"(ptr %"a, !b") #3', "{ i32, i32 }",
         ['%"a, !b"']),
    ],
)  # fmt: skip
def test_operands_and_the_type_of_a_result(line, kind, values):
    instruction = Instruction(line)
    assert instruction.type == kind
    assert [value for _, value in instruction.operands] == values
    assert len(instruction.pieces) == len(values) + 1
    assert instruction.render(values).split(" #")[0] in line


def test_an_address_is_taken_apart():
    function = Function(FUNCTION.split("\n"))
    assert address(function, "%6") == (("%0", ("%1", 16)), -12)


def test_names_that_numbers_are_given_collide_with_none():
    lines = named(["define void @f(i32 %0) {", "  %n0 = add i32 %0, 1", "  ret void", "}"])
    assert lines == [
        "define void @f(i32 %nn0) {", "nn1:", "  %n0 = add i32 %nn0, 1", "  ret void", "}"
    ]  # fmt: skip


def test_only_functions_of_a_module_are_changed():
    text = f"@x = global i32 0\n{FUNCTION}\ndeclare void @g()\n"
    assert map_functions(text, lambda lines: lines) == text
    assert map_functions(text, lambda lines: [lines[0]]).count("ret void") == 0


@pytest.mark.parametrize(
    "line",
    [
        "  %x = va_arg ptr %list, i32",
        "  %x = an_instruction_of_tomorrow i32 %y",
        "  %x = add x86_fp80 %a, %b",
        "  %x = load i32",
        "  call void elsewhere(i32 1)",
        "  )",
    ],
)
def test_what_is_not_known_is_an_error_when_it_is_looked_at(line):
    with pytest.raises(Unreadable):
        print(Instruction(line).operands)


@pytest.mark.parametrize(
    "body",
    [
        ["  %x = add i32 1, 2"],
        ["  ret void", "  ret void"],
        ["  ret void", "a:", "  %x = add i32 1, 2", "b:", "  ret void"],
    ],
)
def test_a_function_that_is_not_blocks_is_an_error(body):
    with pytest.raises(Unreadable):
        Function(["define void @f() {", *body, "}"])


def test_a_pass_that_cannot_read_a_kernel_is_an_internal_error_with_its_name():
    text = "define void @k() {\n  call void @attn_simdgroup_barrier()\n  callbr void @x()\n}\n"
    one = Kernel(SimpleNamespace(function="scale"), text)
    with pytest.raises(InternalError, match=r"^\[compiler.number_rendezvous\] .* in scale: Unrea"):
        PassManager().run([Pass("number_rendezvous", on_text(number_rendezvous))], one)


def test_sizes_of_types():
    assert [size_of(k) for k in ("i1", "bfloat", "ptr addrspace(3)", "<3 x half>")] == [1, 2, 8, 8]
    assert (size_of("[3 x <2 x float>]"), size_of("i48")) == (24, 6)
    assert (access_bytes("<3 x half>"), access_bytes("[2 x i32]")) == (6, 8)
    assert [register_bits(k) for k in ("i1", "<4 x i1>", "<3 x half>", "ptr")] == [0, 0, 48, 64]


WRITING = (
    "  notail call void @f()",
    "  %x = musttail call i32 @g(ptr %p)",
    '  %"a b" = call i32 @g(ptr %p)',
    '  call void @"g h"()',
    "  call void %f(i32 1)",
    '  call void asm sideeffect "x", ""()',
    "  %x = call float @g(ptr @llvm.fma.f32)",
    "  call void @llvm.memcpy.p0.p0.i64(ptr %a, ptr %b, i64 4, i1 false)",
    "  call void @llvm.experimental.guard(i1 %x)",
    "  store i32 1, ptr %p",
    '  %"q r" = atomicrmw add ptr %p, i32 1 monotonic',
    "  %x = cmpxchg ptr %p, i32 0, i32 1 monotonic monotonic",
    "  fence seq_cst",
    "  %x = load volatile i32, ptr %p",
    "  %x = load atomic i32, ptr %p monotonic, align 4",
    "  %x = va_arg ptr %list, i32",
    "  %x = an_instruction_of_tomorrow i32 %y",
)
QUIET = (
    "  %x = add nuw i32 %a, 1",
    '  %"a b" = load i32, ptr %p',
    "  br label %x",
    "  ret void",
    "  %x = tail call float @llvm.fma.f32(float %a, float %b, float %c)",
    "  %r = call i32 @llvm.nvvm.shfl.sync.idx.i32(i32 -1, i32 %x, i32 0, i32 31)",
    "  %t = tail call i32 @llvm.nvvm.read.ptx.sreg.tid.x()",
    "  call void @llvm.lifetime.start.p0(i64 8, ptr %x)",
    "  %z = tail call %s @attn_matrix_multiply_accumulate_f32_f32(float %a)",
)


@pytest.mark.parametrize("line", WRITING)
def test_what_is_not_known_to_leave_memory_alone_may_write(line):
    assert may_change_memory(Instruction(line))


@pytest.mark.parametrize("line", QUIET)
def test_what_leaves_memory_alone_is_known(line):
    assert not may_change_memory(Instruction(line))


@pytest.mark.parametrize(
    ("line", "spaces"),
    [
        ("  store i32 1, ptr addrspace(3) %p, align 4", {3}),
        ("  store i32 1, ptr %p, align 4", {ANY_MEMORY}),
        ("  call void @llvm.memset.p3.i64(ptr addrspace(3) %a, i8 0, i64 4, i1 0)", {ANY_MEMORY}),
        ("  call void @f(i32 1)", {ANY_MEMORY}),
        ("  %x = atomicrmw add ptr addrspace(1) %p, i32 1 monotonic", {ANY_MEMORY}),
        ('  call void asm sideeffect "st.shared.b32 [$0], 1;", "l"(ptr %p)', {ANY_MEMORY}),
        ('  call void asm sideeffect "x;", "~{memory}"()', {ANY_MEMORY}),
        ('  %x = call i32 asm sideeffect "activemask.b32 $0;", "=r"() #3', set()),
        ("  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)", set()),
        ("  fence seq_cst", set()),
        ("  %x = load volatile i32, ptr %p, align 4", set()),
    ],
)
def test_what_an_instruction_itself_may_write(line, spaces):
    assert written(Instruction(line)) == spaces

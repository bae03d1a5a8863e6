"""MSL as the field writes it: what clang does not take as it stands, run on the cpu device."""

from __future__ import annotations

import attnproto
import numpy as np
import pytest
from attnproto.errors import KernelCompileError
from support.msl import HEAD, read_text

ONE = {"threadgroups": (1, 1, 1), "threads": (1, 1, 1)}


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


def run(device, file, kernel, buffers, constants=None, threads=1):
    pipeline = device.library(read_text(file)).pipeline(kernel, constants=constants or {})
    device.run(pipeline, threadgroups=(1, 1, 1), threads=(threads, 1, 1), buffers=buffers)


# pairs (1, 2) (3, 4), twins (5, 6) (7, 8); out[0] chooses.
@pytest.mark.parametrize(("choice", "values"), [(1.0, [2, 10, 6, 0]), (-1.0, [20, 3, 8, 7])])
def test_a_choice_is_between_objects_of_any_memory(device, choice, values):
    out = np.full(4, choice, np.float32)
    pairs, twins = np.arange(1, 5, dtype=np.float32), np.arange(5, 9, dtype=np.float32)
    run(device, "mended.metal", "chosen", {0: out, 1: pairs, 2: twins})
    np.testing.assert_array_equal(out, values)


def test_objects_are_copied_out_of_constant_memory(device):
    out, pairs = np.full(4, np.nan, np.float32), np.full(4, np.nan, np.float32)
    twins = np.arange(5, 9, dtype=np.float32)
    run(device, "mended.metal", "copies", {0: out, 1: pairs, 2: twins})
    # 6 + 7 + 4 of b, a and Start::twin.b; 5 of the first; 7 + 8.
    np.testing.assert_array_equal(out, [1, 17, 5, 15])
    np.testing.assert_array_equal(pairs, [1, 2, np.nan, np.nan])


def test_a_reference_to_thread_memory_binds_to_a_temporary(device):
    out = np.full(4, np.nan, np.float32)
    run(device, "mended.metal", "temporaries", {0: out})
    np.testing.assert_array_equal(out, [3, 8, 16, 21])


def test_vectors_are_cast_filled_and_scaled(device):
    out = np.full(4, np.nan, np.float32)
    halves = np.array([1, 2, 3, 4, 0, 0, 0, 0], np.float16)
    small = np.zeros(1, np.uint16)
    run(device, "mended.metal", "vectors", {0: out, 1: halves, 2: small})
    # 2 + 3; 2 * (2 * 9) + 2; 5 * 10 + 6; the bfloat of 2.
    np.testing.assert_array_equal(out, [5, 38, 56, 2])
    np.testing.assert_array_equal(halves[4:], [9, 18, 27, 36])
    assert small[0] == 0x4000


def test_a_function_of_the_text_stands_beside_one_of_the_library(device):
    out = np.full(3, np.nan, np.float32)
    vectors = np.arange(1, 9, dtype=np.float32)
    run(device, "mended.metal", "own_function", {0: out, 1: vectors})
    # The library's dot takes vectors and no other type, and so goes before the text's template;
    # where both take any type, the text's own is meant, as is a plain function of it.
    assert out.tolist() == [1 * 5 + 2 * 6 + 3 * 7 + 4 * 8, 200, 300]


OWN_NAMES = {
    "plain": "kernel void NAME(device float* out [[buffer(0)]]) { out[0] = 1; }",
    "template": """
template <typename T> kernel void NAME(device T* out [[buffer(0)]]) { out[0] = 1; }
template [[host_name("NAME")]] kernel void NAME<float>(device float*);
""",
    "own namespace": """
namespace own { kernel void NAME(device float* out [[buffer(0)]]) { out[0] = 1; } }
""",
}


@pytest.mark.parametrize("form", OWN_NAMES)
@pytest.mark.parametrize("name", ["step", "mix", "clamp", "dot", "any", "fma", "copysign"])
def test_a_kernel_may_be_called_as_a_function_of_the_library(device, name, form):
    text = HEAD + OWN_NAMES[form].replace("NAME", name)
    assert not [m for m in attnproto.lint(text) if m.severity == "error"]
    out = np.zeros(1, np.float32)
    device.run(device.library(text).pipeline(name), **ONE, buffers={0: out})
    assert out[0] == 1


@pytest.mark.parametrize(("kernel", "dtype"), [("got_int", np.int32), ("got_half", np.float16)])
def test_a_function_is_a_template_argument(device, kernel, dtype):
    out = np.full(1, np.nan, np.float32)
    constants = {"start": 0, "stride": 0}
    run(device, "syntax.metal", kernel, {0: out, 1: np.array([9], dtype)}, constants)
    assert out[0] == 9


def test_kernels_are_instantiated_in_namespaces_and_by_their_parameters(device):
    constants = {"start": 0, "stride": 0}
    out = np.full(1, np.nan, np.float32)
    run(device, "syntax.metal", "put_local", {0: out}, constants)
    assert out[0] == 6
    deduced = np.zeros(1, np.int32)
    run(device, "syntax.metal", "deduced_int", {0: deduced, 1: np.int32(4)}, constants)
    assert deduced[0] == 5


def test_declarations_in_every_form(device):
    out = np.full(8, np.nan, np.float32)
    out[1] = 50
    buffers = {0: out, 1: np.array([7], np.uint32), 2: np.int32(5), 3: np.array([11], np.uint32)}
    run(device, "syntax.metal", "declarations", buffers, {8: 100, 9: 1000})
    np.testing.assert_array_equal(out[2:], [57, 1105, 6, 28, 5, 15])


def test_threadgroup_arrays_are_aligned_and_start_with_values(device):
    out = np.full(8, np.nan, np.float32)
    run(device, "syntax.metal", "started", {0: out}, {"start": 0, "stride": 0}, threads=8)
    np.testing.assert_array_equal(out, [12, 12, 12, 4, 8, 8, 8, 0])


def test_a_byte_order_mark_is_no_part_of_a_text(device):
    text = "\ufeff" + HEAD + "kernel void läuft(device int* x [[buffer(0)]]) { x[0] = 1; }"
    out = np.zeros(1, np.int32)
    device.run(device.library(text).pipeline("läuft"), buffers={0: out}, **ONE)
    assert out[0] == 1


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "threadgroup float s = 1;",
            "line 3, column 233: threadgroup variable 's' cannot start with a value",
        ),
        ("Pair p = x[0] > 1 ? x[0] : q;", "line 3, column 233: incompatible operand types"),
        ("keep(x[0]);", "line 3, column 215: "),
        ("Keeper().keep(x[0]);", "line 3, column 224: "),
        ("Keeper keeper(x[0]);", "line 3, column 222: no matching constructor"),
    ],
)
def test_what_is_no_msl_is_refused_as_before(device, statement, message):
    before = (
        "struct Pair { float a; }; void keep(const thread float& a) {}"
        "struct Keeper { Keeper() {} Keeper(const thread float&) {} "
        "void keep(const thread float& a) {} };"
    )
    text = f"{HEAD}kernel void k(device float* x [[buffer(0)]]) {{ Pair q; {statement} }}"
    text = text.replace("kernel", f"{before} kernel", 1)
    with pytest.raises(KernelCompileError) as caught:
        device.library(text).pipeline("k")
    assert message in str(caught.value)
    assert "attn_" not in str(caught.value)


def test_an_error_names_the_users_text_and_no_internals(device):
    text = HEAD + "kernel void k(device nothing* x [[buffer(0)]], constant int& n [[buffer(1)]]) {}"
    with pytest.raises(KernelCompileError) as caught:
        device.library(text).pipeline("k")
    assert str(caught.value) == "[msl] line 3, column 22: unknown type name 'nothing'"


def test_an_error_of_an_included_text_names_it(device):
    included = (
        '#line 4 "help.h"\ntemplate <typename T> T f(T x) { return x.no; }\n#line 2 "kernel"\n'
    )
    text = HEAD + included + "kernel void k(device float4* x [[buffer(0)]]) { x[0] = f(x[0]); }"
    with pytest.raises(KernelCompileError, match=r"^\[msl\] in help\.h, line 4, column 42: "):
        device.library(text).pipeline("k")


def test_comparisons_of_vectors_are_one_wherever_they_stand(device):
    out = np.full((20, 4), np.nan, np.float32)
    x = np.array([[1, 2, 3, 4], [2, 1, 4, 3]], np.float32)
    run(device, "truths.metal", "truths", {0: out, 1: x})
    expected = [*[x[0] > x[1]] * 16, *[x[0] < 2] * 3, [1, 1, 0, 0]]
    np.testing.assert_array_equal(out, np.array(expected, np.float32))


@pytest.mark.parametrize(
    "statement", ["m = int4(1);", "m = x[0];", "uchar4 u = float4(1) > 2;", "int4 n = m;"]
)
def test_no_other_vector_becomes_one_of_truth_by_itself(device, statement):
    body = f"bool4 m = bool4(true); {statement}"
    with pytest.raises(KernelCompileError, match="line 3, column"):
        device.library(
            f"{HEAD}kernel void k(device float4* x [[buffer(0)]]) {{ {body} }}"
        ).functions()


def test_casts_convert_elements_and_comparisons_are_one(device):
    out = np.full((21, 4), np.nan, np.float32)
    a, x = np.array([1, -2, 3, 4], np.int32), np.array([1.5, -2.5, 3.5, 4.5], np.float32)
    run(device, "casts.metal", "casts", {0: out, 1: a, 2: x})
    up, trunc = (x > 0).astype(np.float32), np.trunc(x)
    expected = [
        a, trunc, trunc, a, -a, a, [1, 2, 3, 4], a[::-1] - a, ~trunc.astype(int), [2] * 4,
        2 * a, a, x, up + (a == 3), up * (a > 3), up + 1, (x < 2) + np.where(x > 0, 5, 6),
        np.where(x > 0, 9, x), [4, -2, 4, 1], [7] * 4, a + 2,
    ]  # fmt: skip
    np.testing.assert_array_equal(out, np.array(expected, np.float32))


def test_a_texts_own_type_has_limits(device):
    out = np.full(3, np.nan, np.float32)
    run(device, "reductions.metal", "limits", {0: out})
    assert out.tolist() == [7, -65504, 1]


def test_a_text_asks_which_types_simdgroup_functions_take(device):
    out = np.full(9, -1, np.int32)
    run(device, "reductions.metal", "types", {0: out})
    assert out.tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 0]


def test_packed_vectors_leave_the_operators_of_other_types_alone(device):
    out = np.full((2, 3), np.nan, np.float32)
    matrix = np.array([[1, 2, 3, 0], [4, 5, 6, 0]], np.float32)
    run(device, "reductions.metal", "products", {0: out, 1: matrix})
    assert out.tolist() == [[8, 10, 12], [6, 12, 0]]


def test_columns_in_braces_make_a_matrix(device):
    text = f"""{HEAD}kernel void k(device float* out [[buffer(0)]]) {{
      float2x2 m = {{{{1, 2}}, {{3, 4}}}};
      half2x3 short_ones = {{{{5}}, half3(6, 7, 8)}};
      for (int i = 0; i < 4; i++) out[i] = m[i / 2][i % 2];
      for (int i = 0; i < 6; i++) out[4 + i] = short_ones[i / 3][i % 3];
    }}"""
    out = np.full(10, np.nan, np.float32)
    device.run(device.library(text).pipeline("k"), threadgroups=1, threads=1, buffers={0: out})
    assert out.tolist() == [1, 2, 3, 4, 5, 0, 0, 6, 7, 8]


def test_a_class_becomes_a_number_and_is_assigned_in_every_memory(device):
    out, x = np.full(4, np.nan, np.float32), np.array([16, 32, 0], np.uint8)
    run(device, "field.metal", "operators", {0: out, 1: x, 2: np.array([64], np.uint8)})
    # 2 + 1; 2 + 1.5; 4 + 3; 3 + 1 and 2 * 3 and 2 * 0.5.
    assert out.tolist() == [3, 3.5, 7, 11]
    assert x.tolist() == [16, 56, 64]


def test_packed_vectors_have_elements_by_name_and_are_parts_of_vectors(device):
    out, x = np.full(3, np.nan, np.float32), np.arange(1, 10, dtype=np.float32)
    run(device, "field.metal", "packed", {0: out, 1: x})
    # z of 1 2 3, and x of 4 5 6; then y, z and z of them; then 70 * 80.
    assert out.tolist() == [3 + 10 + 400, 2 + 60 + 600, 5600]
    assert x.tolist() == [1, 2, 3, 4, 5.5, 6.5, 70, 8, 80]


def test_arrays_are_passed_by_reference_to_methods_of_templates_of_templates(device):
    out = np.zeros(2, np.float16)
    run(device, "field.metal", "folded_half", {0: out})
    assert out.tolist() == [10, 10]


def test_votes_are_made_of_bits(device):
    out = np.zeros(3, np.uint32)
    run(device, "field.metal", "votes", {0: out}, threads=32)
    thirds = sum(1 << lane for lane in range(0, 32, 3))
    assert out.tolist() == [2 * thirds & 0xFFFFFFFF, 2 + 4, 1 + 4]


def test_half_and_bfloat_become_each_other(device):
    out, h = np.full(3, np.nan, np.float32), np.array([1.5], np.float16)
    b = np.array([0x4000, 0x4040], np.uint16)  # 2 and 3
    run(device, "field.metal", "narrow", {0: out, 1: h, 2: b})
    assert out.tolist() == [1.5, 7.5, 9]


@pytest.mark.parametrize(("constants", "values"), [({20: 4, 21: True}, [2, 1]), ({20: 4}, [1, 2])])
def test_indices_are_enumerators_and_constants(device, constants, values):
    out, floats = np.full(3, np.nan, np.float32), (np.float32(n) for n in (10, 300, 20))
    buffers = {0: out, 1: np.array([2], np.float32), **dict(zip((2, 3, 4), floats, strict=True))}
    run(device, "field.metal", "numbered", buffers, constants)
    # 10 * 2 + 20 + 300 + 4.
    assert out.tolist() == [344, *values]


def test_constants_are_of_types_by_any_name(device):
    out, words = np.full(5, np.nan, np.float32), np.zeros(1, np.int64)
    values = {30: 2**32 - 1, 31: 1, 32: 20, 33: 300, 34: 0.1, 35: -128, 36: -300, 37: 0.1}
    run(device, "field.metal", "given", {0: out, 1: words}, {**values, 38: -(2**63)})
    # 0.1 is 0.0999756 of half's 11 bits, and 0.10009765625 of bfloat's 8.
    assert out.tolist() == [2.0**32, 321, float(np.float16(0.1)), -428, 0.10009765625]
    assert words[0] == -(2**63)
    with pytest.raises(KernelCompileError, match=r"'by_typedef' \(u32\) found 1.5, needs a"):
        run(device, "field.metal", "given", {0: out, 1: words}, {**values, 32: 1.5, 38: 0})


def test_bytes_are_no_bools(device):
    out = np.full(4, np.nan, np.float32)
    run(device, "field.metal", "widths", {0: out})
    assert out.tolist() == [7, 1, 5, 3]


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_arguments_of_a_kernels_template_have_defaults(device, dtype):
    out, name = np.zeros(1, dtype), {2: "copied_short", 4: "copied_int"}[np.dtype(dtype).itemsize]
    run(device, "field.metal", name, {0: out, 1: np.array([70], np.int16)})
    assert out[0] == 70 + np.dtype(dtype).itemsize


def test_vectors_are_declared_by_qualified_names(device):
    out = np.full(2, np.nan, np.float32)
    run(device, "field.metal", "qualified", {0: out})
    # 1 and 0 + 1 + 2; 6, 10, 20 and 7.
    assert out.tolist() == [4 + 6 + 10 + 20 + 7, 110]


def test_sequences_of_indices(device):
    out = np.zeros(1, np.uint32)
    run(device, "field.metal", "sequences", {0: out})
    assert out[0] == 0 + 1 + 2 + 3 + 10 + 20


def test_vectors_of_bool_have_other_names(device):
    out = np.full(1, np.nan, np.float32)
    run(device, "field.metal", "masks", {0: out})
    assert out.tolist() == [11110]


def test_methods_and_constructors_take_temporaries_by_reference(device):
    out = np.full(4, np.nan, np.float32)
    run(device, "field.metal", "references", {0: out, 1: np.array([1, 2, 3], np.float32)})
    # 2 + 3 and 1 + 2; 5 and 1 + 6; 2 + 2, 3 + 3.5 and 7; 8, 9 and 6.
    assert out.tolist() == [8, 12, 17.5, 23]


def test_packed_vectors_are_made_of_parts_and_added_to_vectors(device):
    out = np.full(4, np.nan, np.float32)
    run(device, "field.metal", "packed_made", {0: out})
    # (4 + 5 + 5) * 4 of the first elements, (2 + 7 + 7) * 2 of the last.
    assert out.tolist() == [8 + 1, 3, 56, 32]


def test_a_threadgroup_counts_its_quadgroups(device):
    out = np.zeros(2, np.float32)
    run(device, "field.metal", "quarters", {0: out, 1: np.float32(0)}, threads=10)
    assert out.tolist() == [3, 3]


def test_a_template_names_its_parameters_for_itself(device):
    out = np.zeros(2, np.float32)
    run(device, "field.metal", "scoped", {0: out})
    assert out.tolist() == [10, 16]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "kernel void k(device float* x [[buffer(n)]]) {}",
            "line 3, column 40: use of undeclared identifier 'n'",
        ),
        (
            "enum { a = 31 }; kernel void k(device float* x [[buffer(a)]]) {}",
            "line 3, column 50: found buffer(31), needs an index below 31",
        ),
        (
            "namespace a { constant int n [[function_constant(0)]]; }"
            "namespace b { constant int n [[function_constant(1)]]; } kernel void k() {}",
            "line 3, column 84: found a second function constant 'n'; rename one",
        ),
        (
            "kernel void k(device float4* x) { bool4 b = x[0]; x[1] = float4(b); }",
            "line 3, column 35: a vector is no vector of bools by itself",
        ),
    ],
)
def test_what_is_no_index_and_no_bool_is_named(device, text, message):
    with pytest.raises(KernelCompileError) as caught:
        device.library(HEAD + text).functions()
    assert message in str(caught.value)
    assert "attn_" not in str(caught.value)


def test_what_other_texts_of_those_kinds_say_raises_no_alarm():
    assert attnproto.lint(read_text("field.metal")) == ()


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("device atomic<half>* a", "column 13: an atomic is of int, uint, bool, ulong or float"),
        (
            "device float* a) { simdgroup_matrix<int, 8, 8> m; } kernel void l(device float* a",
            "column 62: a simdgroup_matrix is of half, bfloat or float",
        ),
        ("device float* a) {} kernel void k(device int* a", "column 47: found a second kernel"),
    ],
)
def test_a_type_or_name_that_metal_has_not_is_refused(device, declared, message):
    with pytest.raises(KernelCompileError) as caught:
        device.library(f"{HEAD}kernel void k({declared}) {{}}").functions()
    assert message in str(caught.value)

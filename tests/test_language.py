"""The language on the cpu device: small kernels against numpy."""

from __future__ import annotations

import attnproto
import numpy as np
import pytest
from attnproto.compiler.target import fuses, host_target
from attnproto.errors import DispatchError, KernelCompileError
from support.msl import HEAD, launch_threadgroup, read_text

SIZES = {
    "bool": (1, 1), "char": (1, 1), "uchar": (1, 1), "short": (2, 2), "ushort": (2, 2),
    "int": (4, 4), "uint": (4, 4), "long": (8, 8), "ulong": (8, 8), "half": (2, 2),
    "bfloat": (2, 2), "float": (4, 4), "size_t": (8, 8), "int8_t": (1, 1), "uint16_t": (2, 2),
    "int32_t": (4, 4), "uint64_t": (8, 8),
    "char2": (2, 2), "char3": (4, 4), "uchar4": (4, 4), "bool2": (2, 2), "bool4": (4, 4),
    "short2": (4, 4), "short3": (8, 8), "ushort4": (8, 8), "int2": (8, 8), "int3": (16, 16),
    "uint4": (16, 16), "long2": (16, 16), "ulong4": (32, 32), "half2": (4, 4), "half3": (8, 8),
    "half4": (8, 8), "bfloat4": (8, 8), "float2": (8, 8), "float3": (16, 16), "float4": (16, 16),
    "packed_float2": (8, 4), "packed_float3": (12, 4), "packed_float4": (16, 4),
    "packed_half3": (6, 2), "packed_half4": (8, 2), "packed_int3": (12, 4),
    "packed_uchar4": (4, 1),
}  # fmt: skip

TEXT = read_text("language.metal") + "kernel void sizes(device int2* out [[buffer(0)]]) {\n"
TEXT += "".join(f"  out[{k}] = int2(sizeof({t}), alignof({t}));\n" for k, t in enumerate(SIZES))
TEXT += "}\n"


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def test_types_have_the_sizes_and_alignments_of_metal(device, library):
    out = np.zeros((len(SIZES), 2), np.int32)
    launch_threadgroup(device, library, "sizes", out)
    assert {t: tuple(row) for t, row in zip(SIZES, out.tolist(), strict=True)} == SIZES


def test_swizzles_and_constructors_of_vectors(device, library):
    out = np.zeros((14, 4), np.float32)
    launch_threadgroup(device, library, "swizzles", np.array([1, 2, 3, 4], np.float32), out)
    expected = [
        [4, 3, 2, 1], [1, 2, 1, 2], [2, 2, 1, 4], [1, 3, 2, 14], [2, 2, 7, 57], [1, 2, 3, 4],
        [2, 0.5, 2, 0.5], [1, 2, -3, -4], [0, 0, 1, 1], [0, 0, 0, 0], [2, 3, 4, 5], [1, 3, 5, 6],
        [1, 1, 0, 0], [255, 0, 1, 2],
    ]  # fmt: skip
    np.testing.assert_array_equal(out, np.array(expected, np.float32))


def test_a_structure_by_reference_has_the_layout_of_the_host(device, library):
    fields = np.dtype(
        {
            "names": ["n", "scale", "offset", "pair", "wide", "flag", "tight", "list"],
            "formats": ["i4", "f4", ("f4", 3), ("f2", 2), "u8", "u1", ("f4", 3), ("i2", 3)],
            "offsets": [0, 4, 16, 32, 40, 48, 52, 64],
            "itemsize": 80,
        }
    )
    p = np.zeros((), fields)
    p["n"], p["scale"], p["offset"], p["pair"] = 2, 1.5, [1, 2, 3], [4, 5]
    p["wide"], p["flag"], p["tight"], p["list"] = 9 << 32, 200, [6, 7, 8], [-1, -2, -3]
    table, out = np.array([0, 0, 42, 0], np.float32), np.zeros(11, np.float32)
    launch_threadgroup(device, library, "by_reference", p, out, table, p.reshape(1))
    assert out.tolist() == [2, 1.5, 3, 5, 9, 200, 8, -3, 42, 3 + 2 + 7, 80]


def test_classes_templates_and_tables(device, library):
    x, out = np.array([1.5, 2, 3, -2, 4], np.float32), np.zeros(19, np.float32)
    launch_threadgroup(device, library, "objects", x, out)
    a = complex(1.5, 2)
    c = a * 1j + a - 1
    expected = [
        c.real, c.imag, abs(a * a) ** 2, 1.5 * 2 + 2 + 11, 1 + 7 + 1.5,
        0.5 + 1.5 + 2 + 3 - 2 + 12, 12, 6 + 4 + 3, -8, 4.5 + (1 + 2 + 3 - 2), 2.5 + 3.5 + 4,
        3 + 5, 100 + 5 + 1 / 3, 2 + 30 + 150, 20, 1 + 65504 + 1 + 255 - 32768, 255,
        1000.5 + 1.5 + 16 + 5 + 100 + 8 + 97, 1,
    ]  # fmt: skip
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_packed_vectors_leave_no_gap_and_members_are_initialised(device, library):
    fields = np.dtype([("tight", "f4", 3), ("last", "f4")])
    out = np.zeros(4, fields)
    out[0]["tight"] = [1, 2, 3]
    given = np.array([[0, 0, 0], [4, 5, 6]], np.float32)
    launch_threadgroup(device, library, "members", out, given)
    assert out["tight"].tolist() == [[1, 2, 3], [2, 9, 6], [2, 9, 11], [5, 7, 9]]
    assert out["last"].tolist() == [1342, 110, -3, 975]


def test_a_pragma_keeps_a_product_and_a_sum_apart(device, library):
    # (1 + 2^-12)^2 - 1 - 2^-11 is 2^-24, which rounding the product to float loses.
    x = np.array([1 + 2**-12, 1 + 2**-12, -1 - 2**-11], np.float32)
    out = np.full(1, np.nan, np.float32)
    launch_threadgroup(device, library, "contracted", x, out)
    assert out[0] in (0, np.float32(2**-24))  # either is allowed
    launch_threadgroup(device, library, "rounded", x, out)
    assert out[0] == 0


@pytest.mark.skipif(not fuses(host_target()), reason="the processor fuses nothing")
def test_an_expression_fuses_the_first_of_its_products(device):
    library = device.library(read_text("contraction.metal"))
    tail, narrow_tail = 2.0**-24, 2.0**-12
    x = np.array([1 + 2**-12, 1 + 2**-12, -1 - 2**-11, 1], np.float32)
    narrow = np.array([1 + 2**-6, 1 + 2**-6, -1 - 2**-5], np.float16)
    out = np.full(8, np.nan, np.float32)
    launch_threadgroup(device, library, "contractions", x, out, narrow)
    assert out.tolist() == [tail, 0, tail, -tail, tail, tail, narrow_tail, 0]
    launch_threadgroup(device, library, "across", x, out)
    assert out[0] == tail


def test_control_flow_follows_c(device, library):
    out = np.full((5, 64), -9, np.int32)
    launch_threadgroup(device, library, "control", out, threads=64)
    for i in range(64):
        y = {0: 1, 1: 12, 2: 12, 3: 10, 4: i * 100}[i % 5]
        n, steps = i + 1, 0
        while n != 1:
            n, steps = (3 * n + 1 if n % 2 else n // 2), steps + 1
        column = [y, steps]
        while True:
            y -= 3
            if y < -5:
                break
            if y % 2 == 0:
                y -= 1
            if y <= 0:
                break
        a, b, k = 0, i, 0
        while a < b:
            k, a, b = k + (a ^ b), a + 2, b - 1
        column += [y, (i * 7 % 16) ** 2 + (3 + i % 4) ** 2]
        column.append(-9 if i > 40 else k if i else -1)
        assert out[:, i].tolist() == column, i


def test_static_members_have_their_values_from_outside_and_classes_say_how_they_are_copied(device):
    out = np.zeros(10, np.float32)
    text = read_text("static_members.metal")
    launch_threadgroup(device, device.library(text), "members", out)
    assert out.tolist() == [5, -5, 3, 2, 6, 5, 0.5, 5, 6, 18]
    assert not attnproto.lint(text)
    undefined = text.replace("Limits<float>::min;", "Limits<int>::min;")
    with pytest.raises(KernelCompileError, match="found a static member without a value"):
        device.library(undefined).functions()


# What stands before a kernel and the value, 5, that it computes.
MEMBERS = {
    "a specialised member": (
        "template <typename T> struct S { static const constant int n; int get() { return n; } };"
        "template <typename T> const constant int S<T>::n = 2;"
        "template <> const constant int S<half>::n = 3;",
        "S<half>().get() + S<float>::n",
    ),
    "a specialised member with a value in its class": (
        "template <typename T> struct S { static constexpr constant int n = 2; };"
        "template <> constexpr constant int S<half>::n = 3;"
        "template <int N> int f() { return N; }",
        "f<S<half>::n>() + S<float>::n",
    ),
    "members of specialisations alone": (
        "template <typename T> struct S { static constant T n, m; };"
        "template <> constant half S<half>::n = 3; template <> constant float S<float>::m = 2;",
        "S<half>::n + S<float>::m",
    ),
    "a specialised array": (
        "template <typename T> struct S { static constant T v[2]; };"
        "template <typename T> constant T S<T>::v[2] = {1, 2};"
        "template <> constant half S<half>::v[2] = {2, 3};",
        "S<half>::v[1] + S<float>::v[1]",
    ),
    "specialised vectors by parentheses and braces": (
        "template <typename T> struct S { static constant float4 v; };"
        "template <typename T> constant float4 S<T>::v(2);"
        "template <> constant float4 S<half>::v(1, 2, 3, 4);"
        "template <> constant float4 S<float>::v{1, 2, 3, 4};",
        "S<half>::v.z + S<int>::v.x + S<float>::v.w - 4",
    ),
    "members of a specialised class": (
        "template <typename T, int N> struct S { static constant int n; };"
        "template <typename T, int N> constant int S<T, N>::n = N;"
        "template <typename T> struct S<T, 2> { static constant int n; int get(); };"
        "template <typename U> constant int S<U, 2>::n = sizeof(U);"
        "template <typename T> int S<T, 2>::get() { return n; }"
        "template <> struct S<half, 7> { static constant int n; int get(); };"
        "constant int S<half, 7>::n = 10; int S<half, 7>::get() { return n; }",
        "S<half, 2>().get() + S<float, 3>::n + S<half, 7>().get() - 10",
    ),
    "specialised methods": (
        "template <typename T> struct S {"
        "  T x; S(T a) : x(a) {} int one() { return 1; } int two() const { return 1; }"
        "  static int three(); T operator()(T y) const { return y; } T here() device { return x; }"
        "  template <int N> int times(int y) const { return y * N; } };"
        "template <> S<float>::S(float a) : x(2 * a) {}"
        "template <> int S<half>::one() { return 2; }"
        "template <> int S<half>::two() const { return 3; }"
        "template <> int S<int>::three() { return 4; }"
        "template <> float S<float>::operator()(float y) const { return x + y; }"
        "template <> float S<float>::here() device { return x + 1; }"
        "struct P { template <int N> int by() const { return N; } };"
        "template <> int P::by<3>() const { return 9; }",
        "S<half>(0).one() * 10000 + S<half>(0).two() * 1000 + S<float>(2)(1) * 100"
        " + S<int>::three() * 10 + P().by<3>() + P().by<1>() - 23545",
    ),
    "several members in one declaration": (
        "struct S { static const constant int a, b; static constant float4 c, d; };"
        "constant const int S::a = 1; constant const int S::b = 3;"
        "constant float4 S::c(1, 2, 3, 4), S::d = float4(0.5f);",
        "S::a + S::b + S::c.x / 2 + S::d.w",
    ),
    "several members of a template in one declaration, one with a value": (
        "template <typename T> struct S { static const constant T a, b[2], c; };"
        "template <typename T> const constant T S<T>::a = 1;"
        "template <typename U> const constant U S<U>::b[2] = {U(1), U(2)};"
        "template <typename T> const constant T S<T>::c = 2;"
        "struct P { static const constant int a = 4, b; }; const constant int P::b = 7;",
        "S<float>::a + S<half>::b[1] + S<int>::c + P::a + P::b - 11",
    ),
    "members of one name": (
        "struct A { struct S { static constant int n; }; };"
        "struct B { struct S { static constant int n; }; };"
        "namespace c { struct S { static constant int n; }; constant int S::n = 300; }"
        "constant int A::S::n = 1; constant int B::S::n = 20;",
        "A::S::n + B::S::n + c::S::n - 316",
    ),
}


def check_writes_five(device, before: str, body: str) -> None:
    """A kernel of that body writes 5, and lint has nothing against it."""
    text = f"{HEAD}{before}\nkernel void k(device float* o [[buffer(0)]]) {{ {body} }}"
    out = np.full(1, np.nan, np.float32)
    launch_threadgroup(device, device.library(text), "k", out)
    assert out[0] == 5
    assert not attnproto.lint(text)


@pytest.mark.parametrize("kind", MEMBERS)
def test_members_are_specialised_and_defined_alone_or_together(device, kind):
    before, value = MEMBERS[kind]
    check_writes_five(device, before, f"o[0] = {value};")


def test_static_methods_are_values(device):
    library = device.library(read_text("static_methods.metal"))
    out = np.full(45, np.nan, np.float32)
    launch_threadgroup(device, library, "methods", out)
    np.testing.assert_array_equal(out, [5] * 44 + [np.nan])
    for kernel in ("named", "declared"):
        out = np.full(1, np.nan, np.float32)
        launch_threadgroup(device, library, kernel, out)
        assert out[0] == 5
    assert not attnproto.lint(read_text("static_methods.metal"))


def test_a_choice_between_static_methods_is_refused_by_name(device):
    text = read_text("static_methods.metal").replace("= &S::f;", "= one ? S::outside : S::three;")
    with pytest.raises(KernelCompileError, match=r"line 61.* static member functions on both side"):
        device.library(text).functions()


# Bodies of a kernel, with what stands before it, which write 5.
WRITTEN = {
    "volatile threadgroup memory": (
        "",
        "volatile threadgroup int a[4], b; a[1] = 2; b = 3; o[0] = a[1] + b;",
    ),
    "a type by decltype of a construction": (
        "typedef decltype(float4(0)) f4t;",
        "half4x4 m; m[1] = half4(5); f4t v = f4t(m[1]); o[0] = v.z;",
    ),
    "a simdgroup matrix's storage as Apple's header has it": (
        "template <typename T> struct Storage {"
        "  typedef vec<T, 64> storage_type; storage_type t;"
        "  thread vec<T, 2>* elements() thread { return (thread vec<T, 2>*)&t; }"
        "};",
        "Storage<half> s; *s.elements() = half2(2, 3); o[0] = s.elements()->x + s.elements()->y;",
    ),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_people_write_runs_and_lints_clean(device, kind):
    check_writes_five(device, *WRITTEN[kind])


CONSTANTS = {0: True, 1: -5, 2: 4000000000, 3: 0.1, 4: 0.1, 5: -300, "byte": 200, 8: 1 << 40}


def test_function_constants_of_each_type_reach_the_kernel(device, library):
    out, extra = np.full(13, -1, np.float32), np.array([3.5], np.float32)
    launch_threadgroup(device, library, "constants", out, extra, constants=CONSTANTS)
    expected = [1, -5, 4e9, 0.1, np.float16(0.1), -300, 200, -77, 0, 2.0**40, 0, 3.5, -1]
    np.testing.assert_array_equal(out, np.array(expected, np.float32))
    more = CONSTANTS | {1: 4, "optional": 12}
    launch_threadgroup(device, library, "constants", out, extra, extra * 2, constants=more)
    assert out[[1, 7, 8, 10, 12]].tolist() == [4, 12, 1, 1, 7]
    launch_threadgroup(device, library, "constants", out, constants=CONSTANTS | {0: False})
    assert out[0] == 0


def test_a_conditional_argument_must_be_bound_where_its_condition_holds(device, library):
    out, extra = np.zeros(13, np.float32), np.zeros(1, np.float32)
    with pytest.raises(DispatchError, match=r"buffer 1 \(extra\)"):
        launch_threadgroup(device, library, "constants", out, constants=CONSTANTS)
    with pytest.raises(DispatchError, match=r"buffer 2 \(never\)"):
        launch_threadgroup(device, library, "constants", out, extra, constants=CONSTANTS | {1: 4})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({5: 70000}, "shorter.*70000"),
        ({"byte": -1}, "byte.*-1"),
        ({0: 2}, "flag.*2"),
        ({99: 1}, "99"),
        ({1: None}, "whole.*index 1"),
    ],
)
def test_a_function_constant_that_does_not_fit_is_named(library, change, message):
    constants = {k: v for k, v in (CONSTANTS | change).items() if v is not None}
    with pytest.raises(KernelCompileError, match=message):
        library.pipeline("constants", constants)

"""What Apple's compiler would reject: each rule on a text that breaks it and one that does not."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import attnproto
import pytest
from attnproto.cli import app
from attnproto.kernels.flash import FlashTile
from attnproto.kernels.text import flatten, metal_root
from support import mlx, third_party
from support.msl import HEAD

OUT, AT = "device float* o [[buffer(0)]]", "uint i [[thread_position_in_grid]]"
N = "constant int n [[function_constant(0)]];"


def kernel(body, *before, arguments=(OUT, AT)):
    """A text of one kernel; what stands before it is on line 3."""
    return f"{HEAD}{' '.join(before)}\nkernel void k({', '.join(arguments)}) {{ {body} }}\n"


def given(argument, body="o[0] = 1;", *before):
    return kernel(body, *before, arguments=(OUT, argument))


def method(text):
    return kernel("o[i] = 1;", f"struct A {{ {text} }};")


# By rule: the line and the severity, a text that breaks it, and the nearest that does not.
RULES_BROKEN = {
    "lambda": (
        4, "error", kernel("auto f = [](float x) { return x; }; o[i] = f(1);"),
        kernel("float a[2] = {1, 2}; o[i] = a[i % 2] + (a)[1];"),
    ),
    "goto": (
        4, "error", kernel("if (i > 3) goto end; o[i] = 1; end: ;"),
        kernel("for (;;) { if (i > 3) break; o[i] = 1; break; }"),
    ),
    "virtual": (3, "error", method("virtual float f() { return 1; }"), method("float f();")),
    "exceptions": (4, "error", kernel("if (i > 3) throw 1;"), kernel("if (i > 3) return;")),
    "dynamic-cast": (
        4, "error", kernel("o[i] = dynamic_cast<thread A&>(a).x;", "struct A { float x; } a;"),
        kernel("o[i] = static_cast<float>(i);"),
    ),
    "typeid": (
        4, "error", kernel("o[i] = sizeof(typeid(float));"), kernel("o[i] = sizeof(decltype(i));"),
    ),
    "new-delete": (
        4, "error", kernel("thread float* p = new float; delete p;"),
        kernel("float x = 1; thread float* p = &x; o[i] = *p;", "struct A { A() = delete; };"),
    ),
    "noexcept-operator": (
        4, "error", kernel("o[i] = noexcept(o[i]);"),
        kernel("o[i] = f();", "float f() noexcept { return 1; }"),
    ),
    "thread-local": (4, "error", kernel("thread_local int x = 1;"), kernel("thread int x = 1;")),
    "register": (4, "error", kernel("register int x = 1; o[i] = x;"), kernel("int registers = 1;")),
    "double": (
        4, "error", kernel("double x = 1; o[i] = x;"), kernel("float x = 1.0; o[i] = x;"),
    ),
    "std": (4, "error", kernel("o[i] = std::min(1, 2);"), kernel("o[i] = metal::min(1, 2);")),
    "main": (
        3, "error", kernel("o[i] = main();", "int main() { return 1; }"),
        kernel("o[i] = mainly();", "int mainly() { return 1; }"),
    ),
    "c++17": (
        4, "warning", kernel("if constexpr (sizeof(float) == 4) o[i] = 1;"),
        kernel("constexpr int n = 4; if (n == 4) o[i] = 1;"),
    ),
    "derived-class": (
        3, "warning", kernel("B b; o[i] = b.x;", "struct A { float x = 2; }; struct B : A {};"),
        kernel("B b; o[i] = b.a.x;", "struct A { float x = 2; }; struct B { A a; };"),
    ),
    "recursion": (
        3, "warning", kernel("o[i] = f(i);", "int f(int n) { return n < 2 ? n : f(n - 1); }"),
        kernel(
            "o[i] = f(i) + P<3>::f(2);",
            "float f(float x) { return x; } int f(uint n) { return f(float(n)); }"
            "template <int N> struct P { static int f(int x) { return x * P<N - 1>::f(x); } };"
            "template <> struct P<0> { static int f(int x) { return 1; } };",
        ),
    ),
    "address-space": (
        3, "error", kernel("o[i] = 1;", "void f(float& x) { x = 2; }"),
        kernel(
            "auto p = o + 1; device auto& q = *p; o[i] = *p * q; int a = i, b = a * a & i;",
            "void f(thread float& x) { x = 2; } template <typename T> T g(const device T* p);",
        ),
    ),
    "kernel-pointer": (
        4, "error", given("thread float* x"), given("device float* x [[buffer(1)]]"),
    ),
    "size_t-argument": (
        4, "warning", given("constant size_t& n [[buffer(1)]]"),
        given("constant ulong& n [[buffer(1)]]"),
    ),
    "kernel-return": (
        3, "error", f"{HEAD}kernel int k({OUT}) {{ return 1; }}", kernel("return;"),
    ),
    "kernel-overload": (
        4, "error", kernel("o[i] = 1;", "kernel void k(device int* o [[buffer(0)]]) {}"),
        kernel("o[i] = 1;", "kernel void k2(device int* o [[buffer(0)]]) {}"),
    ),
    "kernel-call": (
        4, "error", kernel("a(o);", "kernel void a(device float* o [[buffer(0)]]) { o[0] = 1; }"),
        kernel("a(o);", "void a(device float* o) { o[0] = 1; }"),
    ),
    "program-scope": (
        3, "error", kernel("o[i] = x;", "constexpr float x = 1;"),
        kernel(
            "o[i] = x + A::y;", "constant float x = 1;",
            "struct A { static constexpr constant int y = 2; };",
        ),
    ),
    "constant-initialiser": (
        3, "error", kernel("o[i] = x;", "float f() { return 2; } constant float x = f();"),
        kernel("o[i] = x;", N, "constant int x = n + 1;", "constant float2 y = float2(1, 2);"),
    ),
    "vector-width": (
        4, "error", kernel("vec<float, 5> v; o[i] = v[0];"),
        kernel("vec<float, 4> v; constexpr int w = 8; o[i] = v[0] + f<w>() + int(w < 5);",
               "template <int N> float f() { return N; }"),
    ),
    "threadgroup-variable": (
        3, "error", kernel("f(o);", "void f(device int* o) { threadgroup int a[4]; a[0] = *o; }"),
        kernel(
            "threadgroup float a[4]; f(a); o[i] = a[0];",
            "void f(threadgroup float* a) { threadgroup float* b = a; b[0] = 1; }",
        ),
    ),
    "threadgroup-initialiser": (
        4, "error", kernel("threadgroup float a = 1; o[i] = a;"),
        kernel("threadgroup float a[2] = {0}; a[0] = 1; o[i] = a[0];"),
    ),
    "reserved-name": (
        4, "error", kernel("int vertex = 1; o[i] = vertex;"), kernel("int a = 1; o[i] = a;"),
    ),
    "undefined-function": (
        3, "error", kernel("o[i] = f(1);", "float f(int n);"),
        kernel("o[i] = f(1);", "float f(int n); float f(int n) { return n; }"),
    ),
    "atomic-operation": (
        4, "error",
        kernel("atomic_fetch_max_explicit(&a[i], 1.0f, memory_order_relaxed);",
               arguments=("device atomic_float* a [[buffer(0)]]", AT)),
        kernel("atomic_fetch_add_explicit(&a[i], 1.0f, memory_order_relaxed);",
               arguments=("device atomic_float* a [[buffer(0)]]", AT)),
    ),
    "thread-elements": (
        4, "error",
        kernel("simdgroup_float8x8 m; auto e = m.thread_elements() * 2; o[i] = e[0];"),
        kernel("simdgroup_float8x8 m; o[i] = m.thread_elements()[0] * 2;"),
    ),
    "function-constant": (
        3, "error", kernel("o[i] = n;", "constant int n [[function_constant(0)]] = 3;"),
        kernel(
            "o[i] = n + v.x + a.y;", "constant int n [[function_constant(65535)]];",
            "constant vec<half, 3> v [[function_constant(0)]]; using two = metal::float2;"
            "typedef two pair; constant pair a [[function_constant(1)]];",
        ),
    ),
    "duplicate-index": (
        4, "error", given("device int* p [[buffer(0)]]"),
        kernel(
            "o[0] = 1;", "constant bool a [[function_constant(0)]]; constant bool b = !a;",
            arguments=(
                OUT, "device int* p [[buffer(1), function_constant(a)]]",
                "device float* q [[buffer(1), function_constant(b)]]",
                "threadgroup int* s [[threadgroup(0)]]",
            ),
        ),
    ),
    "buffer-index": (
        4, "error", given("device int* p [[buffer(31)]]"), given("device int* p [[buffer(30)]]"),
    ),
    "attribute-type": (
        4, "error", given("float i [[thread_position_in_grid]]"),
        given("vec<ushort, 3> i [[thread_position_in_grid]]"),
    ),
    "bfloat-conversion": (
        4, "error", kernel("bfloat x = o[i]; o[i] = x;"),
        kernel("bfloat x = bfloat(o[i]); o[i] = x;"),
    ),
    "compile": (
        4, "error", kernel("o[i] = as_type<float>(half(1));"),
        kernel("o[i] = as_type<half2>(float(1)).x;"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES_BROKEN)
def test_a_rule_finds_what_breaks_it_and_nothing_else(rule):
    line, severity, broken, kept = RULES_BROKEN[rule]
    lints = [(f.line, f.severity) for f in attnproto.lint(broken) if f.rule == rule]
    assert set(lints) == {(line, severity)}
    assert not attnproto.lint(kept)


# More of what a rule must see, by the rule.
BFLOATS = "device bfloat* b [[buffer(0)]]"

ALSO = [
    ("bfloat-conversion", kernel("bfloat x = -INFINITY; o[i] = x;")),
    ("bfloat-conversion", kernel("b[i] = 0.0f;", arguments=(BFLOATS, AT))),
    ("bfloat-conversion", kernel("b[i] = 3.402823466e+38f;", arguments=(BFLOATS, AT))),
    ("bfloat-conversion", kernel("b[i] = i > 3 ? 1.0f : b[0];", arguments=(BFLOATS, AT))),
    ("bfloat-conversion", kernel("o[i] = f();", "bfloat f() { return 1.0; }")),
    ("bfloat-conversion", kernel("f(1.0f, b);", "void f(bfloat x, device bfloat* b) { b[0] = x; }",
                                 arguments=(BFLOATS, AT))),
    ("bfloat-conversion", kernel("bfloat a[2] = {1.0f, bfloat(2)}; b[i] = a[1];",
                                 arguments=(BFLOATS, AT))),
    ("bfloat-conversion", kernel("S s = {1.0f}; b[i] = s.x;", "struct S { bfloat x; };",
                                 arguments=(BFLOATS, AT))),
    ("bfloat-conversion", kernel("S s; s.x = -INFINITY; b[i] = s.x;", "struct S { bfloat x; };",
                                 arguments=(BFLOATS, AT))),
    ("bfloat-conversion", kernel("b[i] = f();", "bfloat f(bfloat x = 0.0f) { return x; }",
                                 arguments=(BFLOATS, AT))),
    ("bfloat-conversion", kernel("b[i] = f<bfloat>();", "template <class T> T f() { return 0.5; }",
                                 arguments=(BFLOATS, AT))),
    ("bfloat-conversion", kernel("b[i] = c;", "constant bfloat c = 1.0f;",
                                 arguments=(BFLOATS, AT))),
    ("compile", kernel("simdgroup_float8x8 m; float2 e = m.thread_elements(); o[i] = e.x;")),
    ("argument-type", kernel("simdgroup_float8x8 m; auto e = m.thread_elements();"
                             " o[i] = simd_shuffle(e, 1)[0];")),
    ("reserved-name", kernel("o[i] = 1;", "struct complex { float r; };")),
    ("reserved-name", kernel("o[i] = 1;", "using complex = float2;")),
    ("reserved-name", kernel("o[i] = 1;", "typedef struct { short bits; } bfloat16;")),
    ("reserved-name", kernel("o[i] = 1;", "struct S { float kernel; };")),
    ("function-constant", kernel("o[i] = n;", "int n [[function_constant(0)]];")),
    ("duplicate-index", kernel("", "enum { a, b = 0 };", arguments=(
        "device int* p [[buffer(a)]]", "device int* q [[buffer(b)]]"))),
    ("compile", kernel("bool4 m = float4(o[i]); o[i] = m.x;")),
    ("atomic-operation", kernel("threadgroup atomic_float s; o[i] = 1;")),
    ("buffer-index", kernel("", arguments=[f"device int* a{n}" for n in range(32)])),
    ("exceptions", kernel("try { o[i] = 1; } catch (int) {}")),
    ("virtual", kernel("o[i] = 1;", "struct A {}; struct B : virtual A {};")),
    ("new-delete", kernel("delete o;")),
    ("double", kernel("long double x = 1; o[i] = x;")),
    ("c++17", kernel("auto [a, b] = p; o[i] = a;", "struct P { int x, y; } constant p = {1, 2};")),
    ("derived-class", given("constant B& b [[buffer(1)]]", "", "struct A {}; struct B : A {};")),
    ("recursion", HEAD + "[[visible]] int f(int n) { return n < 2 ? n : f(n - 1); }"),
    ("recursion", kernel("o[i] = f(i);", "int f(int n); int g(int n) { return f(n - 1); }"
                         "int f(int n) { return n < 2 ? n : g(n); }")),
    ("address-space", kernel("float x = 1; float* p = &x; o[i] = *p;")),
    ("address-space", kernel("float x = 1; const float& p = x; o[i] = p;")),
    ("address-space", kernel("o[i] = *reinterpret_cast<float*>(o);")),
    ("address-space", kernel("o[i] = *(float*)o;")),
    ("address-space", kernel("vec<float, 4>* p; o[i] = 1;")),
    ("address-space", method("float* p;")),
    ("address-space", kernel("o[i] = 1;", "float* f() { return nullptr; }")),
    ("address-space", kernel("o[i] = 1;", "template <typename T> void f(device T* a, T* b);")),
    ("size_t-argument", given("constant P& p [[buffer(1)]]", "", "struct P { int a; size_t n; };")),
    ("program-scope", kernel("o[i] = 1;", "device float x;")),
    ("program-scope", kernel("static int n = 0; o[i] = n;")),
    ("program-scope", kernel("o[i] = f(1);", "float f(float x) { static float y[2]; return x; }")),
    ("std", kernel("o[i] = 1;", "using namespace std;")),
    ("atomic-operation", kernel("atomic_store_explicit(&a[i], 1u, memory_order_release);",
                                arguments=("device atomic_uint* a [[buffer(0)]]", AT))),
    ("compile", kernel("o[i] = 1;", arguments=(OUT, AT, "device atomic<half>* a"))),
    ("compile", kernel("simdgroup_matrix<int, 8, 8> m; o[i] = m.thread_elements()[0];")),
    ("compile", 'template <class T> kernel void f(device T* x) {}'
                'template [[host_name("a")]] kernel void f<float>(device float*);'
                'template [[host_name("a")]] kernel void f<half>(device half*);'),
    ("program-scope", kernel("o[i] = 1;", "threadgroup float x[4];")),
    ("program-scope", kernel("o[i] = A::x;", "struct A { static constexpr int x = 1; };")),
    ("threadgroup-initialiser", kernel("threadgroup float a = 1, b[2] = {1, 2}; o[i] = a;")),
    ("function-constant", kernel("o[i] = n.x;", "struct P { int x; }; constant P n "
                                 "[[function_constant(0)]];")),
    ("function-constant", kernel("o[i] = n;", "constant int n [[function_constant(65536)]];")),
    ("function-constant", kernel("o[i] = n.x;", "struct P { int x; }; using Q = P;"
                                 "constant Q n [[function_constant(0)]];")),
    ("function-constant", kernel("o[i] = n[0];", "constant packed_float3 n "
                                 "[[function_constant(0)]];")),
    ("duplicate-index", kernel("", arguments=("threadgroup int* a [[threadgroup(0)]]",
                                              "threadgroup int* b [[threadgroup(0)]]"))),
    ("attribute-type", given("uint2 i [[thread_index_in_simdgroup]]")),
    ("attribute-type", given("uint4 i [[thread_position_in_grid]]")),
    ("attribute-type", kernel("", arguments=(AT, "ushort n [[threads_per_grid]]"))),
    ("attribute-type", kernel("", arguments=(AT, "uint3 n [[thread_position_in_threadgroup]]"))),
    ("attribute-type", kernel("", arguments=("uint a [[thread_position_in_threadgroup]]",
                                             "ushort b [[thread_index_in_threadgroup]]"))),
    ("attribute-type", kernel("", arguments=("uint a [[thread_index_in_simdgroup]]",
                                             "ushort b [[simdgroup_index_in_threadgroup]]"))),
    ("bfloat-conversion", kernel("o[i] = f(o[i]);", "float f(bfloat x) { return x; }")),
    ("compile", kernel("float4 x = 1; int4 y = x; o[i] = y.x;")),
    ("compile", kernel("threadgroup_barrier(mem_flags::none);")),
    ("compile", kernel("float a[n]; a[0] = 1; o[i] = a[0];", N)),
    ("compile", kernel("o[i] = f<n>();", N, "template <int N> int f() { return N; }")),
    ("compile", kernel('asm("nop");')),
    ("compile", kernel("if (i > 3) {")),
    ("compile", '#include "missing.h"\n' + kernel("")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "text"), ALSO, ids=[f"{r}-{n}" for n, (r, _) in enumerate(ALSO)])
def test_a_rule_sees_every_form_of_what_it_forbids(rule, text):
    assert rule in {f.rule for f in attnproto.lint(text)}


def test_recursion_that_no_kernel_reaches_is_an_error():
    text = HEAD + "[[visible]] int f(int n) { return n < 2 ? n : f(n - 1); }"
    assert [(f.rule, f.severity) for f in attnproto.lint(text)] == [("recursion", "error")]


def test_findings_are_frozen_and_in_order():
    lints = attnproto.lint(kernel("goto a; a: goto b; b: ;", "double x();"))
    assert [(f.line, f.rule) for f in lints] == [(3, "double"), (4, "goto"), (4, "goto")]
    with pytest.raises(FrozenInstanceError):
        lints[0].line = 1


def test_a_macro_is_judged_where_it_is_used():
    text = "#define LEAVE goto end\n" + kernel("LEAVE; end: ;")
    assert [(f.line, f.rule) for f in attnproto.lint(text)] == [(5, "goto")]


def test_words_in_comments_and_strings_are_not_code():
    assert not attnproto.lint(kernel("/* goto */ o[i] = 1; // new double\n", "// std::"))


FILES = sorted(p.relative_to(metal_root()).as_posix() for p in metal_root().glob("*/*.metal"))


@pytest.mark.parametrize("path", FILES)
def test_the_projects_kernels_pass(path):
    assert not attnproto.lint(flatten(path))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_an_instance_of_the_flash_kernel_passes(dtype):
    assert not attnproto.lint(FlashTile(16, 64, 64, dtype).source.text)


MLX = {
    "steel": lambda: mlx.SteelAttention("bfloat", 64).text,
    "sdpa_vector": lambda: mlx.flattened("utils.h", "sdpa_vector.h"),
    "softmax": lambda: mlx.flattened("utils.h", "softmax.h"),
    "logsumexp": lambda: mlx.flattened("utils.h", "logsumexp.h"),
    "gemv": lambda: mlx.flattened("gemv.h"),
}


@pytest.mark.parametrize("name", MLX)
def test_kernels_that_apples_compiler_takes_are_not_rejected(name):
    third_party.MLX.need()
    lints = attnproto.lint(MLX[name]())
    assert [f for f in lints if f.severity == "error"] == []
    expected = {"steel": {"c++17", "derived-class"}, "sdpa_vector": {"size_t-argument"}}
    assert {f.rule for f in lints} == expected.get(name, set())


def test_the_command_names_file_and_line_of_an_include(tmp_path, capsys):
    (tmp_path / "part.h").write_text("\nvoid f(thread int& x) { goto end; end: x = 1; }\n")
    path = tmp_path / "whole.metal"
    path.write_text('#include "part.h"\nkernel void k() { int x; f(x); }\n')
    assert app(["lint", str(path)]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"{tmp_path / 'part.h'}:2:25: error: found a goto")
    assert printed[0].endswith("[goto]")
    assert printed[-1] == "1 errors, 0 warnings"
    (tmp_path / "part.h").write_text('\n #include "missing.h"\n')
    assert app(["lint", str(path)]) == 1
    assert f"{tmp_path / 'part.h'}:2:11: error: found the file" in capsys.readouterr().out
    path.write_text("kernel void k() {}\n")
    assert app(["lint", str(path)]) == 0


NUMBERS = (
    "device float* f [[buffer(1)]]", "device half* h [[buffer(2)]]", "device int* n [[buffer(3)]]",
    "device uint* u [[buffer(4)]]", "device ulong* w [[buffer(5)]]",
    "device short* s [[buffer(6)]]", "device float4* v [[buffer(7)]]",
    "device half4* vh [[buffer(8)]]",
    "device int4* vn [[buffer(9)]]", "device bool* t [[buffer(10)]]",
    "device bfloat* b [[buffer(11)]]", "device packed_float3* p [[buffer(12)]]",
    "device atomic_float* af [[buffer(13)]]", "device atomic_uint* au [[buffer(14)]]",
    "device atomic_ulong* al [[buffer(15)]]", "device atomic_bool* at [[buffer(16)]]",
    "device ulong2* vw [[buffer(17)]]",
)  # fmt: skip
RELAXED = "memory_order_relaxed"
# By rule: expressions that Apple's library refuses, each beside the nearest that it takes.
ARGUMENTS = {
    "ambiguous-call": [
        ("max(h[i], f[i])", "max(float(h[i]), f[i])"),
        ("max(f[i], 0)", "max(f[i], 0.0f)"),
        ("min(n[i], u[i])", "min(u[i], 1u)"),
        ("min(u[i], 1)", "min(n[i], 1)"),
        ("min(s[i], 1)", "min(int(s[i]), 1)"),
        ("max(1, n[i] + w[i])", "max(1ul, n[i] + w[i])"),
        ("max(t[i], f[i])", "max(t[i], n[i])"),
        ("clamp(f[i], 0, 1)", "clamp(f[i], 0.0f, 1.0f)"),
        ("clamp(n[i], 0, u[i])", "clamp(n[i], 0, int(u[i]))"),
        ("max3(1, 2u, 3)", "max3(1, 2, 3)"),
        ("median3(1.0f, 2, 3)", "median3(1.0f, 2.0f, 3.0f)"),
        ("sqrt(n[i])", "sqrt(float(n[i]))"),
        ("rsqrt(u[i])", "rsqrt(h[i])"), ("exp(1)", "exp(1.0)"), ("exp(vn[i])", "exp(v[i])"),
        ("floor(n[i] / 2)", "floor(n[i] / 2.0)"), ("sign(n[i])", "sign(h[i])"),
        ("pow(2, 3)", "pow(2, 3.0f)"), ("pow(h[i], 2.0f)", "pow(h[i], 2)"),
        ("pow(v[i], vn[i])", "pow(v[i], 2)"), ("fmin(h[i], f[i])", "fmin(h[i], 1)"),
        ("fma(h[i], h[i], f[i])", "fma(h[i], h[i], 1)"), ("fma(1, 2, 3)", "fma(1, 2, 3.0f)"),
        ("mix(h[i], h[i], f[i])", "mix(v[i], v[i], f[i])"), ("step(0, 1)", "step(0, 1.0f)"),
        ("smoothstep(0, 1, n[i])", "smoothstep(0, 1, f[i])"), ("saturate(1)", "saturate(1.0)"),
        ("select(h[i], f[i], t[i])", "select(f[i], f[i], t[i])"),
        ("isnan(n[i])", "isnan(h[i])"), ("signbit(n[i])", "signbit(f[i])"),
        ("isordered(h[i], f[i])", "isordered(f[i], f[i])"), ("fract(1)", "fract(1.5)"),
        ("ldexp(1, 2)", "ldexp(1.0f, 2)"), ("ilogb(1)", "ilogb(1.0h)"),
        ("nextafter(h[i], f[i])", "nextafter(h[i], h[i])"), ("powr(2, 3)", "powr(f[i], 3)"),
        ("clz(f[i])", "clz(s[i])"), ("popcount(1.0f)", "popcount(t[i])"),
        ("rotate(n[i], u[i])", "rotate(n[i], 3)"), ("mulhi(n[i], u[i])", "mulhi(w[i], 3ul)"),
        ("addsat(s[i], 1)", "addsat(s[i], short(1))"), ("mul24(n[i], u[i])", "mul24(n[i], s[i])"),
        ("mul24(u[i], s[i])", "mul24(s[i], s[i])"), ("hadd(n[i], u[i])", "hadd(n[i], 1)"),
        ("mad24(1, 2, u[i])", "mad24(1, 2, n[i])"),
    ],
    "argument-type": [
        ("simd_sum(w[i])", "simd_sum(u[i])"), ("simd_sum(t[i])", "simd_sum(int(t[i]))"),
        ("simd_max(long(n[i]))", "simd_max(vn[i])"), ("simd_and(f[i])", "simd_and(s[i])"),
        ("simd_xor(vh[i])", "simd_xor(vn[i])"), ("simd_shuffle(w[i], 1)", "simd_shuffle(vh[i], 1)"),
        ("simd_shuffle(vw[i], 1)", "simd_shuffle(as_type<uint2>(w[i]), 1)"),
        ("simd_shuffle_down(t[i], 1)", "simd_shuffle_down(uchar(t[i]), 1)"),
        ("simd_shuffle_xor(f[i] > 0, 1)", "simd_shuffle_xor(b[i], 1)"),
        ("simd_shuffle_rotate_up(w[i], 1)", "simd_shuffle_rotate_up(h[i], 1)"),
        ("simd_broadcast(t[i], 1)", "simd_broadcast(s[i], 1)"),
        ("simd_broadcast_first(w[i])", "simd_broadcast_first(u[i])"),
        ("simd_prefix_exclusive_sum(w[i])", "simd_prefix_exclusive_sum(f[i])"),
        ("simd_shuffle_and_fill_up(w[i], w[i], 1)", "simd_shuffle_and_fill_up(f[i], f[i], 1)"),
        ("quad_sum(w[i])", "quad_sum(v[i])"), ("quad_shuffle(t[i], 1)", "quad_shuffle(n[i], 1)"),
        ("quad_broadcast(w[i], 1)", "quad_broadcast(h[i], 1)"),
        ("quad_prefix_inclusive_product(w[i])", "quad_prefix_inclusive_product(f[i])"),
        ("fast::exp(vn[i])", "fast::exp(n[i])"),
        ("precise::pow(vh[i], 2)", "precise::pow(v[i], 2)"),
        ("dot(vn[i], vn[i])", "dot(v[i], v[i])"), ("length(vn[i])", "length(vh[i])"),
        ("simd_shuffle(Plain(), 1)", "simd_shuffle(f[i], 1)"),
        ("quad_broadcast_first(Plain())", "quad_broadcast_first(float(Number()))"),
        ("max(f, f)", "max(Number(), f[i])"), ("abs(f)", "abs(Number())"),
        ("isnan(f)", "isnan(h[i])"), ("clz(f)", "clz(Four)"), ("abs(Plain())", "abs(p[i].x)"),
        ("any(v[i])", "any(v[i] > 0)"), ("all(vh[i])", "all(vn[i] == 1)"),
    ],
    "atomic-operation": [
        (f"atomic_fetch_max_explicit(af, 1.0f, {RELAXED})",
         f"atomic_fetch_add_explicit(af, 1.0f, {RELAXED})"),
        (f"atomic_fetch_and_explicit(at, true, {RELAXED})", f"atomic_load_explicit(at, {RELAXED})"),
        (f"atomic_fetch_max_explicit(al, 1ul, {RELAXED})",
         f"atomic_max_explicit(al, 1ul, {RELAXED})"),
        (f"atomic_exchange_explicit(al, 1ul, {RELAXED})",
         f"atomic_exchange_explicit(au, 1, {RELAXED})"),
        (f"atomic_fetch_add_explicit(al, 1ul, {RELAXED})",
         f"atomic_fetch_sub_explicit(au, 1, {RELAXED})"),
        (f"atomic_load_explicit(al, {RELAXED})", f"atomic_fetch_xor_explicit(au, 1, {RELAXED})"),
    ],
}  # fmt: skip
PAIRS = [(rule, *pair) for rule, pairs in ARGUMENTS.items() for pair in pairs]


OTHERS = (
    "struct Plain { float x; }; struct Number { operator float() const { return 1; } };"
    "enum { Four = 4 };"
)


def findings(statement, *before):
    text = kernel(f"{statement};", OTHERS, *before, arguments=(*NUMBERS, AT))
    return {(one.rule, one.line) for one in attnproto.lint(text)}


@pytest.mark.parametrize("rule", ARGUMENTS)
def test_a_call_that_the_library_has_no_function_for_is_an_error(rule):
    refused = ";\n".join(bad for _, bad, _ in (pair for pair in PAIRS if pair[0] == rule))
    taken = ";\n".join(good for _, _, good in (pair for pair in PAIRS if pair[0] == rule))
    assert findings(refused) == {(rule, 4 + n) for n in range(len(ARGUMENTS[rule]))}
    assert findings(taken) == set()


@pytest.mark.parametrize(
    ("refused", "taken"),
    [
        ("clamp(vh[i], v[i], v[i])", "clamp(vh[i], 0.0f, 1)"),
        ("max(v[i], vh[i])", "max(v[i], h[i])"),
        ("precise::max(v[i], vh[i])", "precise::max(h[i], f[i])"),
        ("quad_or(f[i])", "quad_or(u[i])"),
    ],
)
def test_a_call_that_no_device_compiles_is_an_error_too(refused, taken):
    assert findings(refused) == {("compile", 4)}
    assert findings(taken) == set()


@pytest.mark.parametrize(
    ("statement", "column", "message"),
    [
        ("o[i] = mulhi(o[i], o[i]);", 8, "found mulhi(float, float), which"),
        ("S s; s = nextafter(s, s);", 10, "found nextafter(S, S), which Metal's library has not"),
        ("float2x2 m(1); m = rotate(m, m);", 20, "found rotate(float2x2, float2x2), which"),
        ("S s; o[i] = mix(s, s, s);", 13, "found mix(S, S, S), which Metal's library has not"),
        (
            "simdgroup_float8x8 m; float2 e = m.thread_elements();",
            30,
            "no viable conversion from 'thread vec<float, 64>' to 'thread float2'",
        ),
        (
            "simdgroup_float8x8 m; auto e = m.thread_elements(); e = e * 2;",
            59,
            "invalid operands to binary expression ('thread vec<float, 64>' and 'int')",
        ),
    ],
)
def test_an_error_within_the_library_is_said_of_the_users_call(statement, column, message):
    text = f"{HEAD}struct S {{ float x; }};\nkernel void k({OUT}, {AT}) {{\n{statement}\n}}"
    (found,) = attnproto.lint(text)
    assert (found.line, found.column) == (5, column)
    assert found.message.startswith(message)


def test_an_argument_is_judged_by_its_type_in_each_instance_of_a_template():
    function = "template <typename T> T g(T x) { return max(x, 1.0f); }"
    assert findings("f[i] = g(f[i])", function) == set()
    assert findings("f[i] = g(h[i])", function) == {("ambiguous-call", 3)}
    atomic = (
        "template <typename T> void g(device atomic<T>* x) { %s(x, T(1), memory_order_relaxed); }"
    )
    assert findings("g(au)", atomic % "atomic_fetch_max_explicit") == set()
    assert findings("g(af)", atomic % "atomic_fetch_max_explicit") == {("atomic-operation", 3)}
    assert findings("g(af)", atomic % "atomic_fetch_add_explicit") == set()


def test_a_function_of_the_texts_own_is_called_for_what_the_library_lacks():
    own = """
        float max(half a, float b) { return a < b ? b : float(a); }
        ulong simd_sum(ulong x) { return x; }
        bool simd_shuffle_down(bool x, ushort by) { return simd_shuffle_down(uint(x), by); }
        bfloat max(bfloat a, bfloat b) { return a < b ? b : a; }"""
    calls = "max(h[i], f[i]); simd_sum(w[i]); simd_shuffle_down(t[i], 1); max(b[i], b[i])"
    assert findings(calls, own) == set()
    assert findings(calls) == {("ambiguous-call", 4), ("argument-type", 4)}


# What once raised a false alarm, each by the rule that did.
PASSING = {
    "an instance of a type that is also a conversion": HEAD
    + """
        float f(uchar v) { return float(v); }
        template <typename T> kernel void cp(device T* x [[buffer(0)]]) { x[0] = T(f(3)); }
        template [[host_name("a")]] [[kernel]] void cp<float>(device float* x [[buffer(0)]]);""",
    "a method called as a kernel is": HEAD
    + """
        template <typename T> struct S { static void sort(device T* x) { x[0] = 1; } };
        template <typename T> kernel void sort(device T* x [[buffer(0)]]) { S<T>::sort(x); }
        template [[host_name("a")]] [[kernel]] decltype(sort<float>) sort<float>;""",
    "classes declared first": kernel(
        "A a; a.x = 1; o[i] = a.x;",
        "struct A; struct A { float x; }; template <typename T> struct B;",
    ),
    "a cast before a product": kernel("device float* p =\n o + (uint64_t)i * n; p[0] = 1;", N),
    "a function's type": HEAD
    + """
        typedef void(one)(device float*);
        template <typename T> kernel void k(device T* x [[buffer(0)]]) { x[0] = 1; }
        template [[host_name("a")]] kernel one k<float>;""",
    "an octal index": kernel("o[i] = n;", "constant int n [[function_constant(01)]];"),
    "a choice between memories": HEAD
    + """
        struct Z { float r; };
        kernel void k(device Z* x [[buffer(0)]]) { Z z; z.r = 1; x[0] = z.r > 0 ? x[1] : z; }""",
    "bfloats of bfloats": kernel(
        "b[i] = bfloat(1.0f); b[i + 1] = b[i] + 1.0bf;"
        "bfloat z = 0; z = bfloat(-INFINITY); b[i] = z;",
        arguments=(BFLOATS, AT),
    ),
    "a lane's two elements of a fragment": kernel(
        "simdgroup_float8x8 m = simdgroup_float8x8(1); thread auto& e = m.thread_elements();"
        "e[0] *= 2; *(thread float2*)&(m.thread_elements()) += float2(1);"
        "o[i] = reinterpret_cast<thread float2&>(m.thread_elements()).y;"
    ),
    "what mixes types and is not ambiguous": kernel(
        "o[i] = pow(o[i], 2) + fma(o[i], 2, 1) + max(A, 2) + max(I<3>::v, 2) + min(c, 3)"
        " + max(integral_constant<int, 3>{}, 2) + isnan(half(o[i])) + clamp(float4(1), 0, o[i]).x;",
        "enum E { A }; constant int c = 4;"
        "template <int N> struct I { static constant constexpr int v = N; };",
    ),
    "a method of a class within a function, and constants that stay": kernel(
        "struct L { static float twice(float x) { return 2 * x; } };"
        "static constant float table[2] = {1, 2}; static threadgroup float t[4]; t[i] = table[0];"
        "o[i] = L::twice(t[i]);",
    ),
    "other names of namespaces": kernel(
        "o[i] = n::x;", "namespace a { namespace b { constant int x = 1; } } namespace n = a::b;"
    ),
    "an argument without a name": given("uint [[thread_position_in_threadgroup]]"),
    "31 buffers": kernel("", arguments=[f"device int* a{n}" for n in range(31)]),
}


@pytest.mark.parametrize("text", PASSING.values(), ids=PASSING)
def test_what_metal_takes_raises_no_alarm(text):
    assert [f for f in attnproto.lint(text) if f.severity == "error"] == []


@pytest.mark.parametrize("odd", ["[[buffer(1)]]", "[[threadgroup(0)]]", "[[]]", "[[,]]", ""])
def test_a_parameter_that_is_only_an_attribute_is_an_error(odd):
    text = f"kernel void k(device int* x [[buffer(0)]], {odd}) {{ x[0] = 1; }}"
    assert [one.line for one in attnproto.lint(text) if one.severity == "error"]

"""What lint finds in texts of the kinds that people write, and what it must leave alone."""

from __future__ import annotations

import attnproto
import pytest
from support.msl import HEAD

FLOATS = "device float* o [[buffer(0)]], uint i [[thread_position_in_grid]]"
BFLOATS = "device bfloat* b [[buffer(0)]], uint i [[thread_position_in_grid]]"
BOTH = (
    "device float* o [[buffer(0)]], device bfloat* b [[buffer(1)]],"
    "uint i [[thread_position_in_grid]]"
)
NUMBERS = (
    "device half* h [[buffer(0)]], device float* o [[buffer(1)]], device int* n [[buffer(2)]],"
    "device uint* u [[buffer(3)]], uint i [[thread_position_in_grid]]"
)
LONGS = (
    "device long* l [[buffer(0)]], device ulong* ul [[buffer(1)]],"
    "uint i [[thread_position_in_grid]]"
)


def text(body, before="", arguments=FLOATS):
    return f"{HEAD}{before}\nkernel void k({arguments}) {{\n{body}\n}}\n"


# By the rule that finds it. Each has its source where it is (compiler/lint); "compile" is clang's.
REFUSED = {
    "address-space": [
        text("o[i] = 1;", "using P = float*;"),
        text("o[i] = 1;", "typedef float* P;"),
        text("for (float* p = o; p < o + 1; p++) *p = 1;"),
        text("o[i] = 1;", "struct S { float x; float* p() { return &x; } };"),
        text("o[i] = sizeof(A<float*>);", "template <typename T> struct A { T x; };"),
    ],
    "ambiguous-call": [
        text("o[i] = max(h[i], o[i]);", arguments=NUMBERS),
        text("n[i] = max(n[i], 1u);", arguments=NUMBERS),
        text("l[i] = min(l[i], 3);", arguments=LONGS),
        text("short s = 1; n[i] = max(s, n[i]);", arguments=NUMBERS),
        text("o[i] = clamp(h[i], 0.0f, 1.0f);", arguments=NUMBERS),
        text("o[i] = max3(o[i], 1, 2);"),
        text("o[i] = fma(h[i], o[i], o[i]);", arguments=NUMBERS),
        text("o[i] = atan2(n[i], n[i]);", arguments=NUMBERS),
        text("o[i] = sqrt(2);"),
        text("o[i] = fabs(n[i]);", arguments=NUMBERS),
        text("o[i] = isnan(n[i]);", arguments=NUMBERS),
        text("o[i] = popcount(o[i]);"),
    ],
    "argument-type": [
        text("o[i] = length(int2(1));"),
        text("l[i] = simd_sum(l[i]);", arguments=LONGS),
        text("o[i] = simd_shuffle_xor(i > 3, 1);"),
        text("o[i] = simd_and(o[i]);"),
        text("o[i] = quad_broadcast(i > 2, 0);"),
        text("l[i] = simd_shuffle_and_fill_up(l[i], l[i], 1);", arguments=LONGS),
        text("float4x4 m(1); o[i] = simd_shuffle(m, 0)[0][0];"),
    ],
    "attribute-place": [
        text("o[i] = f(1);", f"float f(float x) {where} {{ return x; }}")
        for where in ("[[max_total_threads_per_threadgroup(64)]]", "[[maybe_unused]]")
    ]
    + [
        f"{HEAD}{kernel}"
        for kernel in (
            "kernel void f() [[max_total_threads_per_threadgroup(64)]] {}",
            "void f() [[kernel]] {}",
            'kernel void f() [[host_name("g")]] [[max_total_threads_per_threadgroup(64)]] {}',
            "kernel void [[max_total_threads_per_threadgroup(64)]] f() {}",
            "void [[kernel]] f() {}",
            "kernel [[max_total_threads_per_threadgroup(64)]] void f() {}",
            "template <typename T> kernel [[max_total_threads_per_threadgroup(64)]] void f() {}"
            "template kernel void f<int>();",
        )
    ],
    "atomic-operation": [
        text(
            "atomic_fetch_min_explicit(a, 1.0f, memory_order_relaxed);",
            arguments="device atomic_float* a [[buffer(0)]]",
        ),
        text(
            "threadgroup S s; atomic_fetch_add_explicit(&s.f, 1.0f, memory_order_relaxed); o[i] "
            "= 1;",
            "struct S { atomic_float f; };",
        ),
        text(
            "u[0] = atomic_load_explicit(a, memory_order_relaxed);",
            arguments="device atomic_ulong* a [[buffer(0)]], device ulong* u [[buffer(1)]]",
        ),
        text(
            "atomic_fetch_add_explicit(a, true, memory_order_relaxed);",
            arguments="device atomic_bool* a [[buffer(0)]]",
        ),
        text(
            "atomic_fetch_add_explicit(a, 1, memory_order_seq_cst);",
            arguments="device atomic_int* a [[buffer(0)]]",
        ),
    ],
    "attribute-type": [
        text(
            "o[i] = 1;",
            arguments="device float* o [[threadgroup(0)]], uint i [[thread_position_in_grid]]",
        ),
        text("t[0] = 1;", arguments="threadgroup float* t [[buffer(0)]]"),
        text(
            "o[0]=1;",
            arguments="device float* o [[buffer(0)]], uint i [[thread_position_in_grid]], uint j "
            "[[thread_position_in_grid, thread_index_in_simdgroup]]",
        ),
    ],
    "bfloat-conversion": [
        text("b[i] += 1.0f;", arguments=BFLOATS),
        text("b[i] *= o[i];", arguments=BOTH),
        text("o[i] = f(o[i]);", "bfloat f(float x) { return x; }"),
        text("S s{o[i]}; o[i] = s.x;", "struct S { bfloat x; };"),
        text("bfloat4 x = o[i]; o[i] = x.x;"),
        text("b[i] = fma(b[i], b[i], 1.0f);", arguments=BFLOATS),
        text("b[i] = -numeric_limits<float>::infinity();", arguments=BFLOATS),
        text("T x = 1.0f; b[i] = x;", "using T = bfloat;", arguments=BFLOATS),
        text(
            "g<bfloat>(b, 1.0f);",
            "template <typename T> void g(device T* p, float v) { p[0] = v; }",
            arguments=BFLOATS,
        ),
        text("threadgroup bfloat t[4]; t[0] = 1.0f; b[i] = t[0];", arguments=BFLOATS),
        text("device bfloat& x = b[i]; x = 2.0f;", arguments=BFLOATS),
        text(
            "g<bfloat>(b);",
            "template <typename T> struct A { static T zero() { return 0.0f; } }; template "
            "<typename T> void g(device T* p) { *p = A<T>::zero(); }",
            arguments=BFLOATS,
        ),
        text("bfloat4 v = bfloat4(0); v[i] = o[i]; b[i] = v.x;", arguments=BOTH),
    ],
    "buffer-index": [
        HEAD + "kernel void k(device int* a0, constant int& a1, device int* a2, constant int& a3, "
        "device int* a4, constant int& a5, device int* a6, constant int& a7, device int* a8, "
        "constant int& a9, device int* a10, constant int& a11, device int* a12, constant "
        "int& a13, device int* a14, constant int& a15, device int* a16, constant int& a17, "
        "device int* a18, constant int& a19, device int* a20, constant int& a21, device int* "
        "a22, constant int& a23, device int* a24, constant int& a25, device int* a26, "
        "constant int& a27, device int* a28, constant int& a29, device int* a30, constant "
        "int& a31) {}",
    ],
    "compile": [
        text("o[i] = dot(float3(1), half3(1));"),
        text("o[i] = max(float4(1), half4(2)).x;"),
        text("S s = {1}; o[i] = simd_max(s).x;", "struct S { float x; };"),
        text(
            "atomic_max_explicit(a, 1u, memory_order_relaxed);",
            arguments="device atomic_uint* a [[buffer(0)]]",
        ),
        text(
            "o[0] = atomic_load_explicit(a, memory_order_relaxed);",
            arguments="constant atomic_int* a [[buffer(0)]], device int* o [[buffer(1)]]",
        ),
        text("o[i] = 1;", "typedef int uint;"),
        text("o[i] = 1;", "struct float4 { int x; };"),
        text("float a[n]; a[0] = 1; o[i] = a[0];", "constant int n [[function_constant(0)]];"),
        text("o[i] = is_function_constant_defined(x);", "constant int x = 1;"),
        HEAD + "template <typename T> kernel void f(device T* o [[buffer(0)]]) {}\ntemplate "
        '[[host_name("a")]] kernel decltype(f<int>) f<int>;\ntemplate [[host_name("a")]] '
        "kernel decltype(f<float>) f<float>;",
    ],
    "double": [
        text("o[i] = 1.0L;"),
    ],
    "msl-3.2": [
        HEAD + '#include <metal_logging>\nconstant os_log logger("a", "b");\nkernel void k(device '
        'float* o [[buffer(0)]]) { logger.log("x %d", 1); o[0] = 1; }',
        text("atomic_thread_fence(mem_flags::mem_device, memory_order_relaxed); o[i] = 1;"),
        text(
            "o[i] = 1;",
            arguments=f"coherent(device) {FLOATS}",
        ),
    ],
    "reserved-name": [
        text("o[i] = 1;", "enum { thread = 1 };"),
    ],
    "std": [
        text("o[i] = 1;", "using std::max;"),
    ],
    "undefined": [
        text("o[i] = f(1);", "template <typename T> T f(T x);"),
        text("o[i] = f(1.0f);", "int f(int x) { return x; } float f(float x);"),
        text("o[i] = g<int>(1);", "int f(int); template <typename T> T g(T x) { return f(x); }"),
        text("o[i] = S::f();", "struct S { static int f(); };"),
    ],
}

# The nearest that it takes.
TAKEN = {
    **{
        f"attributes as in {form.split('(', 1)[0]}": f"{HEAD}{form}"
        for form in (
            "[[kernel]] void f() {}",
            "[[kernel, max_total_threads_per_threadgroup(64)]] void f() {}",
            "[[kernel]] [[max_total_threads_per_threadgroup(64)]] void f() {}",
            "kernel void f [[max_total_threads_per_threadgroup(64)]] () {}",
            'void f [[kernel]] [[host_name("g")]] () {}',
            'template <typename T> [[kernel]] void f [[host_name("g")]] () {}'
            "template kernel void f<int>();",
        )
    },
    "attributes of statements and parameters": text(
        "if (i > 3) [[likely]] { o[i] = 1; } else [[unlikely]] { o[i] = S().f(2); }",
        "struct S { float f [[nodiscard]] (float x [[maybe_unused]]) { return x; } };",
    ),
    "ternary bf": text("b[i] = i ? bfloat(1.0f) : bfloat(2.0f);", arguments=BFLOATS),
    "bf lit suffix": text("b[i] = 1.0bf;", arguments=BFLOATS),
    "bf T cast": text(
        "g<bfloat>(b);",
        "template <typename T> void g(device T* p) { p[0] = T(0.5f); p[1] = "
        "static_cast<T>(2.0f); p[2] = (T)3.0f; T a[2] = {T(0), T(1)}; p[3] = a[1]; }",
        arguments=BFLOATS,
    ),
    "bf compare float": text("if (b[i] > 0.5f) b[i] = 0;", arguments=BFLOATS),
    "max casts": text("o[i] = max(float(h[i]), o[i]);", arguments=NUMBERS),
    "max template arg": text("o[i] = max<float>(h[i], o[i]);", arguments=NUMBERS),
    "pow int exp": text(
        "o[i] = pow(o[i], 2); o[0] = pow(2.0f, n[0]);",
        arguments="device float* o [[buffer(0)]], device int* n [[buffer(1)]], uint i "
        "[[thread_position_in_grid]]",
    ),
    "mix int": text("o[i] = mix(o[i], o[0], 1); o[1] = smoothstep(0, 1, o[i]);"),
    "clamp vec scalar": text("float4 v = clamp(float4(o[i]), 0.0f, 1.0f); o[i] = v.x;"),
    "simd vec": text(
        "float4 v = simd_sum(float4(1)); half2 w = simd_shuffle_xor(half2(1), 2); o[i] = v.x + w.y;"
    ),
    "cp<float>": HEAD
    + "template <typename T> kernel void cp(device T* o [[buffer(0)]], constant T& v "
    "[[buffer(1)]], uint i [[thread_position_in_grid]]) { o[i] = T(v) + float(i); "
    '}\ntemplate [[host_name("a")]] kernel decltype(cp<float>) cp<float>;',
    "kernel named as local": HEAD
    + "kernel void add(device float* o [[buffer(0)]]) { float sub = 1; o[0] = sub; "
    "}\nkernel void sub(device float* o [[buffer(0)]]) { int add = 2; o[0] = (add) + 1; }",
    "kernel named as method": HEAD
    + "struct S { int run(int x) { return x; } };\nkernel void run(device int* o "
    "[[buffer(0)]]) { S s; o[0] = s.run(3); }",
    "kernel named as static": HEAD
    + "template <typename T> struct Op { static T apply(T x) { return x; } };\nkernel void "
    "apply(device int* o [[buffer(0)]]) { o[0] = Op<int>::apply(3); }",
    "kernel same as member var": HEAD
    + "struct P { int n; };\nkernel void n(constant P& p [[buffer(0)]], device int* o "
    "[[buffer(1)]]) { o[0] = p.n * (p.n); }",
    "forward struct": text(
        "S s = {1}; o[i] = f(s);",
        "struct S; float f(thread const S& s); struct S { float x; }; float f(thread const "
        "S& s) { return s.x; }",
    ),
    "forward template": text(
        "A<float> a = {1}; o[i] = a.x;",
        "template <typename T> struct A; template <typename T> struct A { T x; };",
    ),
    "forward class": text("o[i] = 1;", "class C; template <int N, typename T = float> class D;"),
    "forward enum": text(
        "o[i] = int(E::a);", "enum class E : uchar; enum class E : uchar { a = 1 };"
    ),
    "u64 mul": text(
        "device float* p = o + (uint64_t)i * 3; *p = 1; size_t n = 2; p = o + (size_t)i * n; "
        "*p = 2;"
    ),
    "paren mul": text("float a = 2; int n = 3; o[i] = (a) * n; o[0] = (float)(n) * (a);"),
    "ptr aliases": text(
        "P p = o; *p = 1; Q<float> q = o; *q = 2;",
        "using P = device float*; template <typename T> using Q = device T*; typedef const "
        "device float* R;",
    ),
    "ptr typedef tg": text(
        "threadgroup float t[4]; T p = t; p[0] = 1; o[i] = p[0];", "typedef threadgroup float* T;"
    ),
    "for ptr": text("for (device float* p = o; p < o + 4; p++) *p = 1;"),
    "for mul": text("for (int a = 1, b = a * i; a < 4; a++) o[i] = a * b;"),
    "auto ptr": text("auto p = o; auto* q = o; thread auto& r = p; *r = 1; *q = 2;"),
    "static method out of class": text(
        "o[i] = S::f();", "struct S { static int f(); }; int S::f() { return 1; }"
    ),
    "method out of class": text(
        "S s = {2}; o[i] = s.f();",
        "struct S { int x; int f() const; }; int S::f() const { return x; }",
    ),
    "decl unused": text("o[i] = 1;", "float f(float x);"),
    "atomic float": text(
        "atomic_fetch_add_explicit(a, 1.0f, memory_order_relaxed); "
        "atomic_fetch_sub_explicit(a, 1.0f, memory_order_relaxed); atomic_store_explicit(a, "
        "2.0f, memory_order_relaxed); atomic_exchange_explicit(a, 2.0f, "
        "memory_order_relaxed);",
        arguments="device atomic_float* a [[buffer(0)]]",
    ),
    "atomic cast": text(
        "atomic_fetch_add_explicit((device atomic_uint*)u, 1u, memory_order_relaxed);",
        arguments="device uint* u [[buffer(0)]]",
    ),
    "fragment ref": text(
        "simdgroup_float8x8 m(0); thread auto& e = m.thread_elements(); e[0] = 2; o[i] = "
        "e[0] + e[1];"
    ),
    "constant vec": text(
        "o[i] = c.x;",
        "constant float4 c = float4(1, 2, 3, 4); constant float3 d = {1, 2, 3}; constant "
        "half2 e(1, 2);",
    ),
    "constant array 2d": text(
        "o[i] = t[i & 1][0];", "constant uchar t[2][3] = {{1, 2, 3}, {4, 5, 6}};"
    ),
    "anonymous struct": text(
        "S s; s.x = 1; o[i] = s.x;", "struct S { union { struct { float x, y; }; float v[2]; }; };"
    ),
    "operators": text(
        "V a = {1}, b = {2}; o[i] = (a + b * a).x; a += b; o[0] = a.x; o[1] = (-a).x; o[2] = "
        "a == b;",
        "struct V { float x; V operator*(V o) const { return {x * o.x}; } thread V& "
        "operator+=(V o) { x += o.x; return *this; } V operator-() const { return {-x}; } "
        "bool operator==(V o) const { return x == o.x; } }; V operator+(V a, V b) { return "
        "{a.x + b.x}; }",
    ),
    "space overloads": text(
        "threadgroup float t[2]; t[0] = 1; o[i] = f(o) + f(t);",
        "float f(device float* p) { return *p; } float f(threadgroup float* p) { return *p; "
        "} float f(constant float* p) { return *p; } float f(thread float* p) { return *p; }",
    ),
    "fc optional": text(
        "o[i] = d;",
        "constant int c [[function_constant(2)]]; constant bool has = "
        "is_function_constant_defined(c); constant int d = has ? c : 1;",
    ),
    "partial spec": text(
        "o[i] = A<device float*>::n;",
        "template <typename T> struct A { enum { n = 0 }; }; template <typename T> struct "
        "A<device T*> { enum { n = 1 }; };",
    ),
    "digit sep": text("o[i] = 1'000'000;"),
}


CASES = [(rule, one) for rule, texts in REFUSED.items() for one in texts]


@pytest.mark.parametrize(
    ("rule", "refused"), CASES, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(CASES)]
)
def test_what_apples_compiler_refuses_is_found_by_its_rule(rule, refused):
    assert rule in {one.rule for one in attnproto.lint(refused) if one.severity == "error"}


@pytest.mark.parametrize("kind", TAKEN)
def test_what_apples_compiler_takes_is_left_alone(kind):
    assert not attnproto.lint(TAKEN[kind])

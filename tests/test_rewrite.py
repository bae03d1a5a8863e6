"""Tokens and the rewriting of MSL: what becomes of a text, and what its errors say."""

from __future__ import annotations

import re

import attnproto
import numpy as np
import pytest
from attnproto.compiler.frontend.lexer import RewriteError, tokenize, untokenize
from attnproto.compiler.frontend.rewrite_declarations import rewrite
from attnproto.errors import KernelCompileError
from support.msl import HEAD, read_text


def squeezed(text):
    """The text without line directives, white space only where it separates words."""
    text = re.sub(r"(?m)^#line.*$", "", text)
    return re.sub(r"(?<!\w) +| +(?!\w)", "", " ".join(text.split()))


def body(statement):
    """What becomes of a statement in a function."""
    text = squeezed(rewrite(f"void f() {{ {statement} }}").text)
    return re.fullmatch(r"void f\(\)\{(.*)\}", text)[1]


def test_tokens_know_their_file_and_line():
    tokens = tokenize('# 7 "a.metal"\nint x\n  = 3;\n# 2 "b.metal"\ny "s\\"t" \\\n z')
    places = [(t.text, t.file, t.line) for t in tokens]
    a, b = "a.metal", "b.metal"
    assert places == [
        ("int", a, 7), ("x", a, 7), ("=", a, 8), ("3", a, 8), (";", a, 8),
        ("y", b, 2), ('"s\\"t"', b, 2), ("z", b, 3),
    ]  # fmt: skip


def test_numbers_strings_and_marks_are_single_tokens():
    text = "1.0h 0x1.8p-3f 1'000u .5e+3f 'a' \"a // b\" a->b a::b x<<=2 p->*q a&&b c... i++"
    assert [t.text for t in tokenize(text)] == [
        "1.0h", "0x1.8p-3f", "1'000u", ".5e+3f", "'a'", '"a // b"', "a", "->", "b", "a", "::",
        "b", "x", "<<=", "2", "p", "->*", "q", "a", "&&", "b", "c", "...", "i", "++",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["a >> b", "a >= b", "A<B<int>> c", "a > > b", "x >>= 1", "a > = b"]
)
def test_text_survives_a_round_trip(text):
    again = [t.text for t in tokenize(untokenize(tokenize(text)))]
    assert again == [t.text for t in tokenize(text)]
    tight = untokenize(tokenize(text))
    assert (">>" in tight) == (">>" in text)
    assert (">=" in tight) == (">=" in text)


def test_a_kernel_knows_its_parameters():
    instance = rewrite(
        "constant bool has [[function_constant(0)]];"
        "kernel void k(device float* x [[buffer(3)]], constant int& n [[ buffer(1) ]],"
        " threadgroup half* s [[threadgroup(0)]], uint2 at [[thread_position_in_grid]],"
        " const device int* extra [[buffer(5), function_constant(has)]]) {}"
    ).instances["k"]
    assert [(p.name, p.attributes, p.space, p.reference) for p in instance.parameters] == [
        ("x", {"buffer": "3"}, "device", False),
        ("n", {"buffer": "1"}, "constant", True),
        ("s", {"threadgroup": "0"}, "threadgroup", False),
        ("at", {"thread_position_in_grid": ""}, None, False),
        ("extra", {"buffer": "5", "function_constant": "has"}, "device", False),
    ]
    assert instance.call == "::k"


TEMPLATE = "template <typename T, int N> {} void f(device T* x [[buffer(0)]]) {{ x[0] = N; }}\n"


@pytest.mark.parametrize("kernel", ["kernel", "[[kernel]]"])
@pytest.mark.parametrize(
    ("instantiation", "name"),
    [
        ('template [[host_name("f_half_4")]] kernel void f<half, 4>(device half*);', "f_half_4"),
        ('template [[host_name("f" "_" "4")]] [[kernel]] decltype(f<half, 4>) f<half, 4>;', "f_4"),
        ("template [[kernel]] decltype(f<half, 4>) f<half, 4>;", "f<half,4>"),
    ],
)
def test_templates_are_instantiated_by_either_form(kernel, instantiation, name):
    instances = rewrite(TEMPLATE.format(kernel) + instantiation).instances
    assert list(instances) == [name]
    assert instances[name].call.replace(" ", "") == "::f<half,4>"


def test_a_kernel_may_have_a_limit_of_threads_and_another_name():
    text = '[[host_name("b")]] [[max_total_threads_per_threadgroup(128)]] kernel void a() {}'
    instances = rewrite(text).instances
    assert {n: (i.call, i.max_threads) for n, i in instances.items()} == {"b": ("::a", 128)}


@pytest.mark.parametrize(
    "declared",
    [
        "[[kernel, max_total_threads_per_threadgroup(64)]] void a() {}",
        "[[kernel]] [[max_total_threads_per_threadgroup(64)]] void a() {}",
        "kernel void a [[max_total_threads_per_threadgroup(64)]] () {}",
        "void a [[kernel]] [[max_total_threads_per_threadgroup(64)]] () {}",
        "struct S { int x; }; void a [[kernel, max_total_threads_per_threadgroup(64)]] () {}",
        "template <int N> void t [[kernel]] [[max_total_threads_per_threadgroup(16 * N)]] () {}"
        'template [[host_name("a")]] kernel void t<4>();',
    ],
)
def test_attributes_stand_before_a_function_or_behind_its_name(declared):
    device = attnproto.open_device("cpu")
    assert device.library(declared).pipeline("a").max_threads == 64


def test_function_constants_have_an_index_and_a_type():
    rewritten = rewrite(
        "constant bool a [[function_constant(0)]];"
        "constant  half scale  [[function_constant(12)]];"
        "static constant const uint n [[function_constant(0x10)]];"
        "constant bool b = a && n > 3; constant int c = 5; constant int d = b ? 1 : c;"
        "kernel void k() { int x = d; if (b && is_function_constant_defined(n)) x = c; }"
    )
    described = {c.name: (c.index, c.type) for c in rewritten.constants.values()}
    assert described == {"a": (0, "bool"), "scale": (12, "half"), "n": (16, "uint")}
    text = squeezed(rewritten.text)
    assert "attn_derived_b(){return a&&n>3;}" in text
    assert "attn_derived_d(){return attn_derived_b()?1:c;}" in text
    assert "__constant const int c=5;" in text
    assert "if(attn_derived_b()&&attn_defined_n)" in text


def test_threadgroup_variables_become_references_to_the_arena():
    text = squeezed(
        rewrite(
            "template <int N> kernel void k() {"
            " threadgroup float a[N][4 * N], b; threadgroup vec<half, 4> c[2];"
            " threadgroup float* p = a[0]; { threadgroup int local; } }"
        ).text
    )
    for declaration in (
        "__local auto&a=attn_threadgroup<1,float[N][4*N]>();",
        "__local auto&b=attn_threadgroup<2,float>();",
        "__local auto&c=attn_threadgroup<3,vec<half,4>[2]>();",
        "__local float*p=a[0];",
        "__local auto&attn_name_local=attn_threadgroup<4,int>();",
    ):
        assert declaration in text


@pytest.mark.parametrize(
    ("statement", "becomes"),
    [
        ("x = float4(y);", "x=attn_vector<float4>(y);"),
        ("x = float4(a, b, c, d);", "x=((float4)(a,b,c,d));"),
        ("x = float4(float2(a), half2(b, c));",
         "x=((float4)(attn_vector<float2>(a),((half2)(b,c))));"),
        ("x = float4();", "x=((float4)(0));"),
        ("x = vec<T, 4>(a, f(b, c), d[i, j], e);", "x=((vec<T,4>)(a,f(b,c),d[i,j],e));"),
        ("x = metal::float2(1, 2);", "x=((metal::float2)(1,2));"),
        ("x = vec<float, N * (2)>(y);", "x=attn_vector<vec<float,N*(2)>>(y);"),
        ("using T4 = vec<T, 4>; x = T4(a, b, c, d);", "using T4=vec<T,4>;x=((T4)(a,b,c,d));"),
        ("typedef half4 H; x = H(y);", "typedef half4 H;x=attn_vector<H>(y);"),
        ("float3 x(a, b, c);", "float3 x=((float3)(a,b,c));"),
        ("float3 x(a), y;", "float3 x=attn_vector<float3>(a),y;"),
        ("float4 x; x.xy = float2{a, b};", "float4 x;x.xy=((float2)(a,b));"),
        ("b = bool4(x > y);", "b=attn_bools<bool4>(x>y);"),
        ("x = a < b && c > d;", "x=a<b&&c>d;"),
        ("x = f<a, b>(c) >> 2;", "x=f<a,b>(c)>>2;"),
        ("x = A<B<int>>::v;", "x=A<B<int>>::v;"),
        ("x = 1.0h + 2h + 1'000 + 0x1F;", "x=1.0h+((half)2)+1000+0x1F;"),
        ("x = 1.5bf;", "x=((bfloat)1.5);"),
        ("int global = 1, local = global + pipe;",
         "int attn_name_global=1,attn_name_local=attn_name_global+attn_name_pipe;"),
        ("device atomic_int* p;", "__global atomic<int>*p;"),
        ("thread float* p = &x; const constant T& c = *q;",
         "__private float*p=&x;const __constant T&c=*q;"),
        ("[[unroll]] for (;;) x[y[0]] = z[[0][0]];", None),
        ("x[i[0]] = 1;", "x[i[0]]=1;"),
        ('s = "float4(x)//no";', 's="float4(x)//no";'),
    ],
)  # fmt: skip
def test_statements(statement, becomes):
    if becomes is None:
        assert body(statement).startswith("for(;;)")
    else:
        assert body(statement) == becomes


@pytest.mark.parametrize(
    ("method", "becomes"),
    [
        ("static float f(float x) { return x; }", "static float f(float x){return x;}"),
        ("S(float x) : v(x) {}", "S(float x):v(x){}"),
        ("S() = default;", "S()=default;"),
        ("void f();", "void f()__private;"),
        ("template <int N> static int f() { return N; }",
         "template<int N>static int f(){return N;}"),
    ],
)  # fmt: skip
def test_what_needs_no_object_keeps_its_address_space(method, becomes):
    assert becomes in squeezed(rewrite(f"struct S {{ float v; {method} }};").text)


@pytest.mark.parametrize(
    ("method", "qualifier"),
    [
        ("float f(float x) { return v; }", "f(float x)__private&{"),
        ("float f() const { return v; }", "f()const __private&{"),
        ("float operator()(float x) const { return v; }", "operator()(float x)const __private&{"),
        ("float operator[](int i) { return v; }", "operator[](int i)__private&{"),
        ("template <typename T> T f(T x) const { return x; }", "T f(T x)const __private&{"),
        (
            "template <typename T> operator T() const thread { return v; }",
            "operator T()const&&{return((const __private S*)this)->operator T();}",
        ),
        (
            "template <typename... T> int f(T... x, T...) { return v; }",
            "return((__private S*)this)->template f<T...>(x...,attn_argument_1...);}",
        ),
        ("operator float() const { return v; }", "operator float()const __private&{"),
        ("float f() const device { return v; }", "f()const __global&{"),
        ("float f() const threadgroup { return v; }", "f()const __local&{"),
        ("float f() thread { return v; }", "f()__private&{"),
    ],
)
def test_a_method_is_for_thread_memory_unless_it_says_otherwise(method, qualifier):
    assert qualifier in squeezed(rewrite(f"struct S {{ float v; {method} }};").text)


def test_directives_stay_on_lines_of_their_own():
    text = rewrite("void f() {\n  int x;\n#pragma clang loop unroll(full)\n  for (;;) {}\n}").text
    assert "\n#pragma clang loop unroll(full)\n" in text


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


ERRORS = {
    "an unclosed bracket": ("kernel void k(device int* x [[buffer(0)]]) {{\n  x[0] = (1;\n}}", 4),
    "an unclosed brace": ("kernel void k(device int* x [[buffer(0)]]) {{\n  x[0] = 1;\n", 3),
    "a pointer without address space": ("void f(float* x) {{}}\nkernel void k() {{}}", 3),
    "an undeclared identifier": ("kernel void k() {{\n\n  int y = missing + 1;\n}}", 5),
    "a device pointer for a threadgroup one": (
        "void f(threadgroup float* x) {{}}\n"
        "kernel void k(device float* x [[buffer(0)]]) {{\n  f(x);\n}}",
        5,
    ),
    "a threadgroup pointer kept as a device one": (
        "kernel void k(threadgroup float* x [[threadgroup(0)]]) {{\n  device float* y = x;\n}}",
        4,
    ),
    "a write to constant memory": (
        "kernel void k(constant float* x [[buffer(0)]]) {{\n  x[1] = 2;\n}}",
        4,
    ),
    "a write through a const pointer": (
        "kernel void k(const device float* x [[buffer(0)]]) {{\n  x[1] = 2;\n}}",
        4,
    ),
    "an error after a macro of several lines": (
        "#define BOTH(a, b) \\\n  a; \\\n  b;\nkernel void k() {{\n  BOTH(int x = 1, int y = 2)\n"
        "  x = nothing;\n}}",
        8,
    ),
    "an error inside a macro": (
        "#define ONE(a) \\\n  int a = \\\n  nothing;\nkernel void k() {{\n  int x;\n  ONE(y)\n}}",
        8,
    ),
    "an error after a comment of several lines": (
        "/* one\n two */ kernel void k() {{ // three\n  int x = nothing;\n}}",
        5,
    ),
    "an error after threadgroup variables": (
        "kernel void k() {{\n  threadgroup float a[4],\n      b;\n  threadgroup int c;\n"
        "  d = 1;\n}}",
        7,
    ),
    "a stray closing brace": ("kernel void k() {{ }}\n}}\n", 4),
    "a method of a wrong address space": (
        "struct S {{ int v; int f() {{ return v; }} }};\n"
        "kernel void k(device S* s [[buffer(0)]]) {{\n  s->f();\n}}",
        5,
    ),
}


@pytest.mark.parametrize("what", ERRORS)
def test_an_error_names_the_line_of_the_user(device, what):
    text, line = ERRORS[what]
    with pytest.raises(KernelCompileError, match=rf"line {line}, column \d+: "):
        device.library(HEAD + text.replace("{{", "{").replace("}}", "}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kernel void k(float* x [[buffer(0)]]) {}", "'x' has no address space"),
        ("int f() { return 1; }", "no kernel"),
        ("kernel void k(float x) {}", "neither an address space nor an attribute"),
        ("template [[kernel]] decltype(g<1>) g<1>;", "'g' is instantiated but is no kernel"),
        (
            "constant int n [[function_constant(N)]]; kernel void k() {}",
            "undeclared identifier 'N'",
        ),
    ],
)
def test_an_error_says_what_to_change(device, text, message):
    with pytest.raises(KernelCompileError, match=re.escape(message)):
        device.library(HEAD + text)


def test_an_unclosed_bracket_is_found_by_the_rewriter_itself():
    with pytest.raises(RewriteError, match="never closed"):
        rewrite("void f() { int x[3; }")


RUNNING = read_text("rewritten.metal")


@pytest.mark.parametrize("dtype", [np.float32, np.float16], ids=["float", "half"])
def test_methods_constructors_and_temporaries_run(device, dtype):
    name = "rows_float" if dtype == np.float32 else "rows_half"
    plain = np.array([(0, 0), (7, 1.25)], np.dtype([("a", "i4"), ("b", "f4")]))
    out = np.zeros(5, dtype)
    pipeline = device.library(RUNNING).pipeline(name)
    device.run(pipeline, threadgroups=1, threads=1, buffers={0: out, 1: plain})
    assert out.tolist() == [6, 8 + 3, 4 + 12, 8.25 + 3.5 + 2, 1]

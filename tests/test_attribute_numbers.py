"""Indices and limits in attributes: whatever constant expression says them, clang works it out."""

from __future__ import annotations

import re

import attnproto
import numpy as np
import pytest
from attnproto import KernelCompileError
from attnproto.compiler.frontend.program import library_head
from attnproto.compiler.target import host_target

HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"
# What stands before the kernel, and an expression that is 2.
EXPRESSIONS = {
    "a literal": ("", "2"),
    "a macro": ("#define AT(n) ((n) + 1)", "AT(1)"),
    "an enumerator": ("enum { a, b, c };", "c"),
    "a class's enumerator": ("enum class Slot : int { out = 2 };", "int(Slot::out)"),
    "a constant": ("constant int slot = 1;", "slot + 1"),
    "a conditional": ("constant constexpr bool wide = true;", "wide ? 2 : 0"),
    "a comparison": ("", "2 * (3 > 2)"),
    "a size": ("", "sizeof(float4) / 8"),
    "a function": ("constexpr int next(int x) { return x + 1; }", "next(1)"),
    "a function of the library": ("", "metal::min(2, 3)"),
    "one of two members of a name": (
        "struct A { static constexpr constant int v = 2; };"
        "struct B { static constexpr constant int v = 3; };",
        "A::v",
    ),
    "one of two namespaces": (
        "namespace m { constexpr constant int v = 3; }"
        "namespace n { constexpr constant int v = 2; }",
        "n::v",
    ),
    "a member of a template": (
        "template <int N> struct A { static constexpr constant int v = N; };", "A<2>::v",
    ),
    "a variable template": ("template <int N> constexpr constant int v = N;", "v<2>"),
    "characters": ("", "'c' - 'a'"),
    "bits": ("", "~(-3)"),
}  # fmt: skip


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


def written(device, text, constants=None):
    """What kernel k writes to buffer 2."""
    out = np.zeros(4, np.float32)
    pipeline = device.library(HEAD + text).pipeline("k", constants)
    device.run(pipeline, threadgroups=1, threads=1, buffers={2: out})
    return out[0]


@pytest.mark.parametrize("kind", EXPRESSIONS)
def test_an_index_is_a_constant_expression(device, kind):
    before, two = EXPRESSIONS[kind]
    text = f"""{before}
    constant int given [[function_constant({two})]];
    [[max_total_threads_per_threadgroup(32 * ({two}))]]
    kernel void k(device float* o [[buffer({two})]]) {{ o[0] = given; }}"""
    assert written(device, text, {2: 7}) == 7
    assert device.library(HEAD + text).pipeline("k", {2: 7}).max_threads == 64
    assert not attnproto.lint(HEAD + text)


TEMPLATES = {
    "a number": ("int B", "device float* o [[buffer(B)]]", "2"),
    "an expression": ("typename T, int B", "device T* o [[buffer(B + 1)]]", "float, 1"),
    "a default": ("typename T, int B = 2", "device T* o [[buffer(B)]]", "float"),
    "a type": ("typename T", "device T* o [[buffer(sizeof(T) / 2)]]", "float"),
    "a trait": ("typename T", "device T* o [[buffer(slot<T>::v)]]", "float"),
    "a pack": ("typename... T", "device float* o [[buffer(sizeof...(T))]]", "int, float"),
    "a name that something else has": ("int taken", "device float* o [[buffer(taken)]]", "2"),
}
BEFORE = """enum { taken = 5 };
template <typename T> struct slot;
template <> struct slot<float> { static constexpr constant int v = 2; };
"""


@pytest.mark.parametrize("kind", TEMPLATES)
@pytest.mark.parametrize("scope", ["", "q"])
def test_an_index_is_a_template_argument(device, kind, scope):
    parameters, parameter, arguments = TEMPLATES[kind]
    named = f"{scope}::f" if scope else "f"
    text = f"""{BEFORE} {f"namespace {scope} {{" if scope else ""}
    template <{parameters}> kernel void f({parameter}) {{ o[0] = 5; }} {"}" if scope else ""}
    template [[host_name("k")]] kernel decltype({named}<{arguments}>) {named}<{arguments}>;"""
    assert written(device, text) == 5
    assert not attnproto.lint(HEAD + text)


def test_instances_have_indices_and_limits_of_their_own():
    text = """
    template <int N> [[max_total_threads_per_threadgroup(N * 32)]]
    kernel void f(device float* o [[buffer(N)]], threadgroup float* t [[threadgroup(N - 1)]]) {}
    template [[host_name("a")]] kernel decltype(f<3>) f<3>;
    template [[host_name("b")]] kernel decltype(f<5>) f<5>;"""
    head = library_head(HEAD + text, host_target())
    known = {
        name: (*(p.attributes for p in instance.parameters), instance.max_threads)
        for name, instance in head.instances.items()
    }
    assert known == {
        "a": ({"buffer": "3"}, {"threadgroup": "2"}, 96),
        "b": ({"buffer": "5"}, {"threadgroup": "4"}, 160),
    }


# Two kernel templates of one name, the arguments of each.
OVERLOADS = {
    "a type and a number": ("typename T", "float", "int N", "3"),
    "a class and a truth": ("class T", "Mine", "bool N", "true"),
    "more of them": ("int N", "3", "int N, typename T", "3, half"),
    "the second a type": ("int N, typename T", "3, half4", "int N, int M", "3, 4"),
    "a vector and an enumerator": ("typename T", "vec<float, 2>", "int N", "four"),
}


@pytest.mark.parametrize("kind", OVERLOADS)
def test_kernels_of_one_name_have_attributes_of_their_own(device, kind):
    first, one, second, other = OVERLOADS[kind]
    text = f"""
    struct Mine {{}};
    enum {{ four = 4 }};
    template <{first}> [[max_total_threads_per_threadgroup(sizeof(float4) * 2)]]
    kernel void f(device float* o [[buffer(2)]]) {{ o[0] = 5; }}
    template <{second}> [[max_total_threads_per_threadgroup(sizeof(float4) * 4)]]
    kernel void f(device float* o [[buffer(7)]], device float* p [[buffer(1)]]) {{ o[0] = 6; }}
    template [[host_name("k")]] kernel decltype(f<{one}>) f<{one}>;
    template [[host_name("l")]] kernel decltype(f<{other}>) f<{other}>;"""
    known = {
        name: ([p.attributes["buffer"] for p in instance.parameters], instance.max_threads)
        for name, instance in library_head(HEAD + text, host_target()).instances.items()
    }
    assert known == {"k": (["2"], 32), "l": (["7", "1"], 64)}
    assert written(device, text) == 5


def test_kernels_of_one_name_that_take_the_same_are_refused(device):
    text = """
    typedef struct A mine;
    template <typename T> kernel void f(device float* o) {}
    template <int N> kernel void f(device float* o, device float* p) {}
    template [[host_name("k")]] kernel decltype(f<mine>) f<mine>;"""
    with pytest.raises(KernelCompileError, match=r"line 7, .*found 2 of 2 kernels called f"):
        device.library(HEAD + text)


@pytest.mark.parametrize(
    "head",
    [
        "[[kernel, max_total_threads_per_threadgroup(N * 32)]] void",
        "[[max_total_threads_per_threadgroup(N * 32), kernel]] void",
        "[[max_total_threads_per_threadgroup(N * 32)]] kernel void",
        "kernel [[max_total_threads_per_threadgroup(N * 32)]] void",
    ],
)
def test_a_limit_stands_alone_or_among_other_attributes(head):
    plain = f"constant int N = 3; {head} k(device float* o [[buffer(0)]]) {{}}"
    text = f"""template <int N> {head} f(device float* o [[buffer(0)]]) {{}}
    template [[host_name("k")]] kernel decltype(f<3>) f<3>;"""
    for one in (plain, text):
        assert library_head(HEAD + one, host_target()).instances["k"].max_threads == 96


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kernel void k(device float* o [[buffer(31)]]) {}",
         "line 3, column 33: found buffer(31), needs an index below 31; renumber it"),
        ("constexpr int f() { return 31; }\nkernel void k(device float* o [[buffer(f())]]) {}",
         "line 4, column 33: static assertion failed"),
        ("template <int B>\nkernel void f(device float* o [[buffer(B)]]) {}\n"
         'template [[host_name("k")]] kernel decltype(f<-1>) f<-1>;',
         "line 4, column 33: static assertion failed"),
        ("[[max_total_threads_per_threadgroup(0)]] kernel void k(device float* o) {}",
         "line 3, column 3: found max_total_threads_per_threadgroup(0), needs a number from 1"),
        ("[[max_total_threads_per_threadgroup(1.5)]] kernel void k(device float* o) {}",
         "line 3, column 3: conversion from 'float'"),
        ("constant int n [[function_constant(0)]];\n"
         "kernel void k(device float* o [[buffer(n)]]) {}",
         "line 4, column 33: non-type template argument is not a constant expression"),
        ("kernel void k(device float* o [[buffer(none)]]) {}",
         "line 3, column 40: use of undeclared identifier 'none'"),
        ("kernel void k(device float* o [[buffer(0), function_constant(none)]]) {}",
         "line 3, column 44: found function_constant(none), needs the name of a function constant"),
        ("constant bool n [[function_constant(0)]];\n"
         "kernel void k(device float* o [[buffer(0), function_constant(!n)]]) {}",
         "line 4, column 44: found function_constant(!n), needs the name of a function constant"),
    ],
)  # fmt: skip
def test_what_is_no_index_is_refused_where_it_stands(device, text, message):
    with pytest.raises(KernelCompileError, match=re.escape(message)):
        device.library(HEAD + text).pipeline("k")
    assert {one.severity for one in attnproto.lint(HEAD + text)} == {"error"}


def test_lint_sees_two_arguments_at_an_index_that_clang_works_out():
    text = """constexpr int f() { return 2; } constant bool n [[function_constant(0)]];
    constant bool not_n = !n;
    kernel void k(device float* o [[buffer(f())]],
                  device float* p [[buffer(2)%s]]) { o[0] = p[0]; }"""
    lints = attnproto.lint(HEAD + text % "")
    assert [(one.line, one.rule) for one in lints] == [(6, "duplicate-index")]
    apart = text.replace("f())]]", "f()), function_constant(n)]]") % ", function_constant(not_n)"
    assert not attnproto.lint(HEAD + apart)

"""What is said of a wrong text: the user's file, line, column and words, and none of our own."""

from __future__ import annotations

import re

import attnproto
import pytest
from attnproto.compiler.frontend import clang
from attnproto.compiler.frontend.lexer import tokenize
from attnproto.compiler.frontend.source import Source
from attnproto.compiler.target import host_target
from attnproto.errors import KernelCompileError
from support.msl import HEAD

OUT = "device float* o [[buffer(0)]]"
# The mark stands before what the message is about; nothing else tells where that is.
MARK = "@"


def kernel(body, *before):
    return "\n".join([*before, f"kernel void k({OUT}) {{", f"  {body}", "}", ""])


PLACES = {
    "a name": kernel("o[0] = @wrong;"),
    "after a tab and spaces": kernel("\to[0]   =    @wrong;"),
    "after multi-byte characters": kernel("float größe = 1; /* ☃☃ */ o[0] = größe + @wrong;"),
    "after a vector's construction": kernel("float4 a = float4(1, 2, 3, 4); o[0] = a.x + @wrong;"),
    "inside a vector's construction": kernel("float4 a = float4(1, @wrong, 3, 4); o[0] = a.x;"),
    "after a threadgroup variable": kernel("threadgroup float t[4]; o[0] = t[0] + @wrong;"),
    "after casts": kernel("int4 a = (int4)float4(1) + int4(o[0] > 1); o[0] = @wrong;"),
    "after an address space": kernel("const device float* p = o; o[0] = p[0] + @wrong;"),
    "after a number without suffix": kernel("o[0] = 0.5 * 1e-3 * @wrong;"),
    "after a shift": kernel("o[0] = 8 >> 1 >> @wrong;"),
    "an argument of a macro": kernel("o[0] = TWICE(@wrong);", "#define TWICE(x) ((x) + (x))"),
    "after a macro": kernel("o[0] = TWICE(1) + @wrong;", "#define TWICE(x) ((x) + (x))"),
    "inside a macro": kernel("o[0] = 1 + @WRONG(1);", "#define WRONG(x) ((x) + wrong)"),
    "a macro's directive": kernel("o[0] = 1;", "#define M(x) x", "#if +@", "#endif"),
    "an error directive after characters": kernel("o[0] = 1;", "/* größe */ #@error no"),
    "a template's body": kernel(
        "o[0] = f(o[0]);", "template <typename T> T f(T x) {", "  return x + x@.no;", "}"
    ),
    "a constant derived from another": kernel(
        "o[0] = m;", "constant int n [[function_constant(0)]];", "constant int m = n + @wrong;"
    ),
    "a function constant's type": kernel(
        "o[0] = 1;", "@wrong_type;", "constant int n [[function_constant(0)]];"
    ),
    "a method": kernel("A a; o[0] = a.f();", "struct A {", "  float f() { return @wrong; }", "};"),
    "a call of the library": kernel("o[0] = 1; @simd_sum(o);"),
    "as_type of another size": kernel("o[0] = @as_type<int>(half(1));"),
    "a cast of a pointer": kernel("int4 a = (@int4)o; o[0] = a.x;"),
    "a copy": kernel("@A a = 3; o[0] = a.x;", "struct A { float x; };"),
    "a bracket": kernel("o[0] = @(1;"),
    "a pointer without address space": "void f(float@* p) {}\n" + kernel("o[0] = 1;"),
    "a kernel's result": f"kernel float @k({OUT}) {{ return 1; }}\n",
    "a kernel's parameter": f"kernel void k({OUT}, float @x) {{ o[0] = x; }}\n",
    "a kernel's type": f"kernel void k({OUT}, device @wrong* p [[buffer(1)]]) {{ o[0] = 1; }}\n",
    "two parameters of one name": f"kernel void k({OUT}, device float* @o [[buffer(1)]]) {{}}\n",
    "an instance's argument": "template <typename T> kernel void k(device T* o [[buffer(0)]]) {}\n"
    'template [[host_name("a")]] kernel void @k<wrong>(device float*);\n',
    "an instance of too many": "template <typename T> kernel void k(device T* o [[buffer(0)]]) {}\n"
    'template [[host_name("a")]] kernel decltype(k<float, 3>) @k<float, 3>;\n',
    "a texture": "kernel void k(@texture2d<float> t [[texture(0)]]) {}\n",
    "assembly": kernel('@asm("nop"); o[0] = 1;'),
    "a packed vector's member": kernel("packed_float3 p = 1; o[0] = p.@w;"),
    "an unknown constant": kernel("o[0] = @is_function_constant_defined(n);"),
}


def refused(text, **options):
    with pytest.raises(KernelCompileError) as caught:
        attnproto.open_device("cpu").library(text, **options).functions()
    return str(caught.value)


@pytest.mark.parametrize("text", PLACES.values(), ids=PLACES)
def test_a_message_names_line_and_column_and_nothing_of_ours(text):
    before, after = (HEAD + text).split(MARK)
    said = refused(before + after)
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    assert said.startswith(f"[msl] line {line}, column {column}: ")
    assert not re.search(r"attn_|__\w|ext_vector|\bmend\b", said)


def test_a_message_of_an_included_text_names_it():
    text = '#include "part.h"\n' + kernel("o[0] = f<int>(1);")
    part = "\ntemplate <typename T> T f(T größe) { float4 a = float4(1); return größe + a.no; }\n"
    column = part.split("\n")[1].index(".no;") + 1
    said = refused(text, include={"part.h": part})
    assert said.startswith(f"[msl] in part.h, line 2, column {column}: ")
    said = refused(text + "wrong;", include={"part.h": "template <class T> T f(T x);"})
    assert said.startswith("[msl] line 5, column 1: ")


def test_the_rewriter_names_the_included_text_too():
    text = '#include "part.h"\n' + kernel("o[0] = 1;")
    said = refused(text, include={"part.h": "\nvoid f(float* p) {}"})
    assert said == (
        "[msl] in part.h, line 2, column 13: pointer parameter 'p' has no address space; write "
        "device, constant, threadgroup or thread before its type"
    )


def test_lint_names_columns_of_tokens_and_of_what_clang_finds():
    text = HEAD + kernel("int größe = 1; if (o[0] > 1) goto end; o[0] = max(größe, o[0]); end: ;")
    line = text.split("\n")[3]
    findings = [(one.rule, one.line, one.column) for one in attnproto.lint(text)]
    assert findings == [
        ("goto", 4, line.index("goto") + 1), ("ambiguous-call", 4, line.index("max") + 1),
    ]  # fmt: skip


def test_every_token_of_a_text_without_macros_is_where_it_was_written():
    text = HEAD + "/* a\n b */ struct  A { float4 größe ; /* x */ int\ty; }; // z\n  int f ( ) ;\n"
    source = Source(text)
    lines = text.split("\n")
    tokens = [t for t in tokenize(source.preprocessed) if t.file == "kernel"]
    assert len(tokens) == 20
    for token in tokens:
        place = source.place(token)
        assert lines[place.line - 1][place.column - 1 :].startswith(token.text)


@pytest.mark.parametrize("attribute", ["buffer(31)", "threadgroup(32)"])
def test_an_index_that_no_kernel_has_is_refused_where_it_stands(attribute):
    space = "threadgroup" if "thread" in attribute else "device"
    said = refused(f"kernel void k({space} float* x [[{attribute}]]) {{}}")
    column = len(f"kernel void k({space} float* x [[") + 1
    wanted = f"found {attribute}, needs an index below 31; renumber it"
    assert said == f"[msl] line 1, column {column}: {wanted}"


@pytest.mark.parametrize("end", ["kill -9 $$", "exit 127", "echo >&2; exit 1"])
def test_a_compiler_that_ends_without_a_word_is_named_with_a_cure(tmp_path, monkeypatch, end):
    program = tmp_path / "clang"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) echo clang version 20.1.0; exit 0;; esac\n{end}\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(clang, "compiler", lambda: (str(program),))
    with pytest.raises(KernelCompileError) as raised:
        clang.to_ir("void f() {}", host_target())
    said = str(raised.value)
    assert f"found {program} that ends with code " in said
    assert "needs a clang that runs; try it by hand, or set ATTNPROTO_CLANG to another" in said

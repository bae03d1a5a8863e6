"""What a text may include: Metal's headers, and what is handed over with it."""

import os
import re
import threading

import attnproto
import numpy as np
import pytest
from attnproto.compiler.frontend import clang
from attnproto.compiler.target import host_target
from attnproto.device.includes import put_in_place
from attnproto.errors import KernelCompileError

KERNEL = "kernel void k(device int* x [[buffer(0)]]) { x[0] = SCALE; }\n"
SECRET = "zanzibar"


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


def result(device, text, **options):
    x = np.zeros(1, np.int32)
    pipeline = device.library(text, **options).pipeline("k")
    device.run(pipeline, threadgroups=1, threads=1, buffers={0: x})
    return int(x[0])


@pytest.fixture
def secret(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "scale.h"
    file.write_text(f"#define SCALE 7\n#error {SECRET}\nint {SECRET}\n")
    return file


@pytest.mark.parametrize(
    "line",
    [
        '#include "scale.h"',
        "#include <scale.h>",
        '#include "{file}"',
        "#include <{file}>",
        '#import "{file}"',
        '#include_next "{file}"',
        '#define F "{file}"\n#include F',
        '#inc\\\nlude "{file}"',
        '%:include "{file}"',
        'int a[] = {{\n#embed "{file}"\n}};',
        "int a[] = {{\n#embed <{file}>\n}};",
        '#include "{headers}/../frontend/clang.py"',
        '#include "{headers}/preprocess/../../frontend/clang.py"',
        "#define H #\nH include <{file}>",
        "#include </etc/passwd>",
        '#include "/dev/stdin"',
        '#include "/proc/self/environ"',
    ],
)  # fmt: skip
def test_no_text_for_a_device_reads_a_file_that_is_not_metals(device, secret, line):
    text = line.format(file=secret, headers=clang.HEADERS) + "\n" + KERNEL
    with pytest.raises(KernelCompileError) as caught:
        device.library(text).functions()
    said = str(caught.value)
    assert SECRET not in said
    assert "root:" not in said
    assert "\n" not in said


def test_the_sentence_names_the_line_the_file_and_the_cure(device, secret):
    with pytest.raises(KernelCompileError) as caught:
        device.library('\n#include "scale.h"\n' + KERNEL).functions()
    assert str(caught.value) == (
        "[msl] line 2, column 10: found the file 'scale.h', which is none of Metal's, needs a text "
        "without; put it in place or pass include={'scale.h': text}"
    )


def test_whether_a_file_is_there_cannot_be_asked(device, secret):
    text = f'#if __has_include("{secret}") || __has_include("scale.h")\n#define SCALE 1\n#else\n'
    assert result(device, text + "#define SCALE 2\n#endif\n" + KERNEL) == 2


def test_a_pipe_that_is_included_is_not_waited_for(device, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    ended = threading.Event()

    def include():
        with pytest.raises(KernelCompileError):
            device.library(f'#include "{tmp_path}/pipe"\n' + KERNEL).functions()
        ended.set()

    threading.Thread(target=include, daemon=True).start()
    assert ended.wait(60)


def test_neither_is_a_file_read_by_what_clang_compiles_last(secret):
    with pytest.raises(KernelCompileError, match="none of Metal's") as caught:
        clang.to_ir(f'#include "{secret}"\n', host_target())
    assert SECRET not in str(caught.value)
    assert SECRET not in clang.messages(f'#include "{secret}"\n', host_target())


@pytest.mark.parametrize(
    "header", ["metal_stdlib", "simd/simd.h", "metal_config", "metal_assert", "metal_utility"]
)
def test_metals_own_headers_are_there(device, header):
    text = f"#include <{header}>\nusing namespace metal;\n"
    assert result(device, text + "#define SCALE int(max(3.0f, 2.0f))\n" + KERNEL) == 3


def test_a_header_that_a_host_shares_has_its_types(device):
    shared = """#include <simd/simd.h>
        typedef struct { vector_uint2 size; simd_float4 color; matrix_float2x2 turn; } Shared;
        inline int scale() {
          Shared s = {{1, 2}, simd_float4(3, 4, 5, 6), matrix_float2x2(7)};
          simd::float3 v = simd::float3(8);
          return s.size.y + s.color.w + s.turn[1].y + v.z;
        }
    """
    text = '#include <metal_stdlib>\n#include "shared.h"\n#define SCALE scale()\n' + KERNEL
    assert result(device, text, include={"shared.h": shared}) == 2 + 6 + 7 + 8


@pytest.mark.parametrize(
    "line", ['#include "scale.h"', "#include <scale.h>", ' # include "scale.h" // x']
)
def test_what_is_handed_over_is_included_and_decides_the_kernel(device, secret, line):
    text = line + "\n" + KERNEL
    assert result(device, text, include={"scale.h": "#define SCALE 11"}) == 11
    # The text is the same, the kernel another one: nothing of the first is in a cache for it.
    assert result(device, text, include={"scale.h": "#define SCALE 12"}) == 12


def test_included_texts_include_one_another_and_keep_their_lines(device):
    include = {
        "a/outer.h": '#pragma once\n#include "inner.h"\n#define SCALE inner()\n',
        "inner.h": "#pragma once\ninline int inner() { return 5; }\n",
    }
    text = '#include "a/outer.h"\n#include "inner.h"\n#include "a/outer.h"\n' + KERNEL
    assert result(device, text, include=include) == 5
    with pytest.raises(KernelCompileError, match=r"^\[msl\] line 4, column 53: "):
        device.library(text.replace("SCALE", "MISSING"), include=include).functions()
    include["inner.h"] = "#pragma once\n\ninline int inner() { return missing; }\n"
    with pytest.raises(KernelCompileError, match=r"^\[msl\] in inner\.h, line 3, column 29: "):
        device.library(text, include=include).functions()


def test_what_only_looks_like_an_include_stays():
    comments = '// #include "a.h"\n/*\n#include "a.h"\n*/\n#include "b.h"\n#if 0\n'
    placed = put_in_place(comments + '#include "a.h"\n#endif\n', {"a.h": "A"})
    assert placed == comments + '#line 1 "a.h"\nA\n#line 8 "kernel"\n#endif\n'


@pytest.mark.parametrize(
    ("include", "said"),
    [
        ({"a.h": '#include "b.h"', "b.h": '#include "a.h"'}, "b.h that includes a.h"),
        ({"a.h": '#include "a.h"'}, "a.h that includes a.h"),
        ({"metal_stdlib": "x"}, "metal_stdlib"),
        ({'a"b': "x"}, "without quotes"),
        ({"a\nb": "x"}, "line ends"),
        ({"": "x"}, "the name ''"),
        ({"a.h": 3}, "found int as the text of 'a.h'"),
        ({3: "x"}, "found int as a name to include"),
        ({"a.h": "\udcff"}, "UTF-8"),
        (["a.h"], "texts by name"),
    ],
)  # fmt: skip
def test_includes_that_cannot_be_put_in_place_are_refused(device, include, said):
    with pytest.raises(KernelCompileError, match=re.escape(said)):
        device.library('#include "a.h"\n' + KERNEL, include=include)


def test_texts_that_include_others_twice_each_are_refused_before_they_are_endless(device):
    """A chain of 40 whose last one a text would have a million million times."""
    doubled = {f"a{i}.h": f'#include "a{i - 1}.h"\n' * 2 for i in range(1, 41)}
    with pytest.raises(KernelCompileError, match="includes that make more than") as caught:
        device.library('#include "a40.h"\n' + KERNEL, include={"a0.h": "", **doubled})
    assert "let each text be included once" in str(caught.value)

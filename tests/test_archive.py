"""Archives: what was compiled once runs elsewhere, and nothing damaged or foreign is trusted."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap

import attnproto
import numpy as np
import pytest
from attnproto import ArchiveRefused, KernelCompileError, _core
from attnproto.device import archive
from support.archives import rewrite_head

TEXT = """
#include <metal_stdlib>
using namespace metal;
constant float kScale [[function_constant(0)]];
kernel void scale(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i] *= kScale;
}
"""


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture
def saved(device, tmp_path):
    builder = archive.build(device)
    library = device.library(TEXT)
    for factor in (2.0, 3.0):
        builder.add(library, "scale", {0: factor})
    return builder.save(tmp_path / "kernels.attnproto")


def doubled(device, pipeline):
    y = np.arange(32, dtype=np.float32)
    device.run(pipeline, threadgroups=1, threads=32, buffers={0: y})
    return (y == 2 * np.arange(32)).all()


def test_an_archive_lists_what_it_holds_and_for_which_device(device, saved):
    assert len(saved) == 2
    assert saved.nbytes > 500
    assert saved.manifest["pipelines"][1].pop("c_bytes") > 1000
    assert saved.manifest["pipelines"][1] == {
        "function": "scale",
        "constants": {"kScale": 3.0},
        "text": hashlib.sha256(TEXT.encode()).hexdigest()[:16],
        "linked": [],
        "private": [],
    }
    assert saved.manifest["device"] == archive.identity(device)


def test_what_the_archive_holds_is_served_and_a_miss_fails_only_where_asked(device, saved):
    library = device.library(TEXT)
    assert doubled(device, library.pipeline("scale", {0: 2.0}, archive=saved, fail_on_miss=True))
    with pytest.raises(KernelCompileError, match="found no scale with these constants"):
        library.pipeline("scale", {0: 4.0}, archive=saved, fail_on_miss=True)
    assert library.pipeline("scale", {0: 4.0}, archive=saved)


def test_a_pipeline_in_memory_does_not_hide_that_the_archive_misses_it(device, saved):
    library = device.library(TEXT)
    library.pipeline("scale", {0: 5.0})
    with pytest.raises(KernelCompileError, match="found no scale"):
        library.pipeline("scale", {0: 5.0}, archive=saved, fail_on_miss=True)


def test_a_changed_text_misses(device, saved):
    library = device.library(TEXT.replace("*=", "+="))
    with pytest.raises(KernelCompileError, match="found no scale"):
        library.pipeline("scale", {0: 2.0}, archive=saved, fail_on_miss=True)


def test_a_shipped_archive_runs_in_a_new_process_in_which_no_compiler_starts(saved, tmp_path):
    script = f"""
        import attnproto, numpy as np
        from attnproto import archive
        from attnproto.compiler.codegen import native_code
        from attnproto.compiler.frontend import clang
        from attnproto.compiler.ir import llvm
        def never(*_, **__): raise SystemExit("a compiler ran")
        clang._run = llvm.optimise = native_code.compile_object = never
        device = attnproto.open_device("cpu")
        stored = archive.load({str(saved.path)!r}, device)
        library = device.library({TEXT!r})
        pipeline = library.pipeline("scale", {{0: 3.0}}, archive=stored, fail_on_miss=True)
        y = np.arange(32, dtype=np.float32)
        device.run(pipeline, threadgroups=1, threads=32, buffers={{0: y}})
        print(y[31])
    """
    environment = {**os.environ, "ATTNPROTO_CACHE_DIR": str(tmp_path / "elsewhere")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "93.0", done.stderr


def test_the_kernels_of_attention_are_collected_shipped_and_served(device, tmp_path):
    q = np.random.default_rng(0).standard_normal((1, 2, 40, 64)).astype(np.float32)
    with archive.collecting(device) as builder:
        expected = attnproto.flash_attention(q, q, q, causal=True, device=device)
        attnproto.linear_attention(q, q, q, device=device)
    stored = builder.save(tmp_path / "attention")
    assert [p["function"].split("_")[0] for p in stored.manifest["pipelines"]] == [
        "flash", "chunk", "chunk"
    ]  # fmt: skip
    np.save(tmp_path / "q.npy", q)
    script = f"""
        import attnproto, numpy as np
        from attnproto import archive
        from attnproto.compiler.codegen import native_code
        from attnproto.compiler.frontend import clang
        from attnproto.compiler.ir import llvm
        def never(*_, **__): raise SystemExit("a compiler ran")
        clang._run = llvm.optimise = native_code.compile_object = never
        device = attnproto.open_device("cpu")
        archive.use(archive.load({str(stored.path)!r}, device), device)
        q = np.load({str(tmp_path / "q.npy")!r})
        np.save({str(tmp_path / "o.npy")!r},
                attnproto.flash_attention(q, q, q, causal=True, device=device))
        attnproto.linear_attention(q, q, q, device=device)
        try:
            attnproto.flash_attention(q, q, q, device=device)
        except SystemExit as compiled:
            print(compiled)
    """
    environment = {**os.environ, "ATTNPROTO_CACHE_DIR": str(tmp_path / "elsewhere")}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    # What the archive does not hold is compiled, as the one without causal.
    assert done.stdout.strip() == "a compiler ran", done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), expected)


def test_an_archive_in_use_gives_way_to_compiling_again(device, saved):
    archive.use(saved, device)
    q = np.ones((1, 1, 8, 64), np.float32)
    assert attnproto.flash_attention(q, q, q, device=device).shape == q.shape
    saved.payload.unlink()
    archive.use(None, device)
    assert attnproto.flash_attention(q, q, q, device=device).shape == q.shape


@pytest.mark.parametrize("keep", [0, 1, 19, 20, 60, 90, 300, -1])
def test_a_truncated_archive_is_refused(device, saved, keep):
    data = saved.path.read_bytes()
    saved.path.write_bytes(data[:keep])
    with pytest.raises(ArchiveRefused, match="damaged, truncated or no archive"):
        archive.load(saved.path, device)


def test_one_wrong_bit_anywhere_is_found(device, saved):
    data = saved.path.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(data), 60):
        wrong = bytearray(data)
        wrong[at] ^= 1 << int(at % 8)
        saved.path.write_bytes(wrong)
        with pytest.raises(ArchiveRefused, match="damaged"):
            archive.load(saved.path, device)


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("kind", "metal"),
        ("processor", "Apple M4"),
        ("os", "macOS 14.0"),
        ("compiler", "ziglang 0.1, 0"),
    ],
)
def test_an_archive_of_another_device_system_or_compiler_is_refused(device, saved, what, value):
    rewrite_head(saved.path, **{what: value})
    with pytest.raises(ArchiveRefused, match=f"built for {what} '{value}', needs"):
        archive.load(saved.path, device)


def test_a_length_that_does_not_fit_what_follows_is_refused(device, saved):
    rewrite_head(saved.path, payload="99999999")
    with pytest.raises(ArchiveRefused, match="damaged"):
        archive.load(saved.path, device)


# Lengths on both sides of SHA-256's block of 64 bytes, and of the 9 that end the last one.
@pytest.mark.parametrize("n", [1, 34, 35, 36, 43, 44, 45, 46, 107, 108, 1000])
def test_the_digest_is_the_one_that_hashlib_finds(tmp_path, n):
    body = b"name\t" + b"x" * n + b"\npayload\t0\n\n"
    digest = hashlib.sha256(body).hexdigest().encode()
    path = tmp_path / "archive"
    path.write_bytes(b"attnproto archive 2\n" + digest + b"\n" + body)
    assert _core.read_archive(str(path)).device == {"name": "x" * n}


def test_a_refused_archive_is_built_again_and_says_why(device, saved):
    def fill(builder):
        builder.add(device.library(TEXT), "scale", {0: 2.0})

    assert archive.load_or_build(saved.path, device, fill).rebuilt_because == ""
    saved.path.write_bytes(saved.path.read_bytes()[:-3])
    rebuilt = archive.load_or_build(saved.path, device, fill)
    assert "damaged" in rebuilt.rebuilt_because
    assert len(archive.load(saved.path, device)) == 1
    missing = saved.path.with_name("missing")
    assert "No such file" in archive.load_or_build(missing, device, fill).rebuilt_because


def test_a_payload_damaged_after_unpacking_is_not_used(device, saved):
    library = device.library(TEXT)
    data = saved.payload.read_bytes()
    saved.payload.write_bytes(data[:-7] + b"garbage")
    with pytest.raises(KernelCompileError, match="damaged or of another kind"):
        library.pipeline("scale", {0: 2.0}, archive=saved)
    again = archive.load(saved.path, device)
    assert again.payload.read_bytes() == data
    assert doubled(device, library.pipeline("scale", {0: 2.0}, archive=again, fail_on_miss=True))


def test_linked_functions_travel_with_their_pipeline(device, tmp_path):
    parts = device.library("[[stitchable]] float twice(float x) { return 2 * x; }")
    stitched = parts.stitch({"modify": attnproto.Call("twice", attnproto.Input(0))})
    kernel = device.library(
        "[[visible]] float modify(float x);\n"
        "kernel void apply(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) "
        "{ y[i] = modify(y[i]); }"
    )
    builder = archive.build(device)
    builder.add(kernel, "apply", private={"modify": stitched})
    stored = builder.save(tmp_path / "linked")
    assert stored.manifest["pipelines"][0]["private"] == ["modify"]
    pipeline = kernel.pipeline(
        "apply", private={"modify": stitched}, archive=stored, fail_on_miss=True
    )
    assert doubled(device, pipeline)
    thrice = device.library("[[visible]] float modify(float x) { return 3 * x; }")
    with pytest.raises(KernelCompileError, match="found no apply"):
        kernel.pipeline("apply", private={"modify": thrice}, archive=stored, fail_on_miss=True)


def test_a_kernel_that_cannot_be_linked_for_c_is_an_error_and_not_left_out(device, monkeypatch):
    from attnproto.compiler.targets import shared_object

    refusing = [sys.executable, "-c", "raise SystemExit('unknown option')"]
    monkeypatch.setattr(shared_object, "_linking", lambda objects, target: refusing)
    builder = archive.build(device)
    with pytest.raises(KernelCompileError, match="a linker that refuses scale: unknown option"):
        builder.add(device.library(TEXT), "scale", {0: 2.0})
    with pytest.raises(KernelCompileError, match="found no pipelines"):
        builder.save("unused")


def test_a_pipeline_with_a_table_is_stored_for_python_alone(device, tmp_path):
    text = """
    #include <metal_stdlib>
    [[visible]] float twice(float x) { return 2 * x; }
    kernel void apply(device float* y [[buffer(0)]],
                      metal::visible_function_table<float(float)> functions [[buffer(1)]],
                      uint i [[thread_position_in_grid]]) { y[i] = functions[0](y[i]); }
    """
    library = device.library(text)
    builder = archive.build(device)
    builder.add(library, "apply", linked=["twice"])
    stored = builder.save(tmp_path / "table")
    assert stored.manifest["pipelines"][0]["c_bytes"] == 0
    pipeline = library.pipeline("apply", linked=["twice"], archive=stored, fail_on_miss=True)
    y = np.arange(32, dtype=np.float32)
    table = pipeline.function_table(["twice"])
    device.run(pipeline, threadgroups=1, threads=32, buffers={0: y, 1: table})
    np.testing.assert_array_equal(y, 2 * np.arange(32))


def test_nothing_to_store_and_nowhere_to_store_it_are_refused(device, tmp_path):
    builder = archive.build(device)
    with pytest.raises(KernelCompileError, match="found no pipelines"):
        builder.save(tmp_path / "empty")
    with pytest.raises(KernelCompileError, match="found no kernel 'nobody'"):
        builder.add(device.library(TEXT), "nobody")
    builder.add(device.library(TEXT), "scale", {0: 2.0})
    (tmp_path / "file").write_text("")
    with pytest.raises(KernelCompileError, match="not writable"):
        builder.save(tmp_path / "file" / "below")


def test_a_device_reads_only_its_own_kind_of_file(device, tmp_path):
    library = device.library(TEXT)
    (tmp_path / "other").write_bytes(b"MTLB" + bytes(100))
    with pytest.raises(KernelCompileError, match="damaged or of another kind"):
        library.pipeline("scale", {0: 2.0}, archive=tmp_path / "other")
    with pytest.raises(KernelCompileError, match="found no file"):
        library.pipeline("scale", {0: 2.0}, archive=tmp_path / "missing")

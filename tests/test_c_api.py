"""The C ABI: a kernel runs without Python's help, and nothing wrong is more than an error."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import attnproto
import pytest
from attnproto.device import archive
from attnproto.device.export import export
from attnproto.errors import DeviceUnavailable
from attnproto.prototypes import rust_crates
from support.archives import rewrite_head

LIBRARY = rust_crates.library_path()
HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    LIBRARY is None, reason="no libattnproto here: a cross or sanitized build has none"
)

TEXT = """
constant float shift [[function_constant(0)]];
constant int2 place [[function_constant(1)]];
kernel void put(device int* o [[buffer(0)]]) { o[0] = place.x; o[1] = place.y; }
kernel void add(device const float* a [[buffer(0)]], device float* b [[buffer(1)]],
                constant uint& n [[buffer(2)]], threadgroup float* shared [[threadgroup(0)]],
                uint i [[thread_position_in_grid]], uint lane [[thread_index_in_simdgroup]]) {
  shared[lane] = i < n ? a[i] : 0.0f;
  threadgroup_barrier(metal::mem_flags::mem_threadgroup);
  float sum = metal::simd_sum(shared[lane]);
  if (i < n) b[i] = metal::exp(0.0f * a[i]) + a[i] + shift + 0.0f * sum;
}
"""


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_kernel_runs_from_a_program_in_c_and_every_misuse_is_an_error(
    tmp_path: Path, kind: str
) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on the path")
    try:
        device = attnproto.open_device(kind)
    except DeviceUnavailable as missing:
        pytest.skip(str(missing))
    kernel = export(TEXT, "add", tmp_path / "add", {"shift": 1.5}, device)
    builder = archive.build(device)
    for shift in (1.5, 2.0):
        builder.add(device.library(TEXT), "add", {"shift": shift})
    builder.add(device.library(TEXT), "put", {"place": [16777217, 5]})
    stored = builder.save(tmp_path / "stored").path
    truncated, foreign = tmp_path / "truncated", tmp_path / "foreign"
    truncated.write_bytes(stored.read_bytes()[:-1])
    foreign.write_bytes(stored.read_bytes())
    rewrite_head(foreign, os="Nothing 1")
    program = tmp_path / "c_api_test"
    options = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-I", HERE.parent / "cpp"]
    command = [compiler, *options, HERE / "c_api_test.c", "-o", program, "-ldl"]
    subprocess.run(command, check=True)
    given = [LIBRARY, kernel, stored, truncated, foreign, TEXT, kind]
    # No Python, no compiler and no cache: nothing but the files, and where drivers are.
    only = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    done = subprocess.run([program, *given], capture_output=True, text=True, env=only)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "all checks passed\n"

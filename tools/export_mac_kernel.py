"""Export one kernel for an Apple machine: ``python tools/export_mac_kernel.py FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

from attnproto import _core
from attnproto.compiler.target import processor_target
from attnproto.compiler.targets.shared_object import shared_object

# Calls the engine and, for the cosine, the C library.
TEXT = """
#include <metal_stdlib>
kernel void total(device float* out [[buffer(0)]], uint lane [[thread_index_in_simdgroup]]) {
  out[lane] = metal::simd_sum(metal::cos(float(lane)));
}
"""


def main() -> None:
    """Write the file."""
    target = processor_target("aarch64", "apple-macosx", "apple-m1")
    kernel = shared_object(TEXT, _core.PipelineDescriptor("total", []), target)
    Path(sys.argv[1]).write_bytes(kernel)


if __name__ == "__main__":
    main()

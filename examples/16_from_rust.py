"""A kernel for a program in Rust: the crate attnproto-sys opens what Python exported.

The program is rust/attnproto-sys/examples/squares.rs.
"""

import subprocess
import tempfile
from pathlib import Path

from attnproto.device.export import export
from attnproto.prototypes.rust_crates import library_path, missing

TEXT = """
kernel void squares(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                    constant uint& n [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  if (i < n) y[i] = x[i] * x[i];
}
"""
RUST = Path(__file__).parents[1] / "rust"


def main() -> None:
    """Export the kernel and run the crate's example on it."""
    if lacking := missing(library=True):
        raise SystemExit(lacking)
    with tempfile.TemporaryDirectory() as folder:
        kernel = export(TEXT, "squares", Path(folder) / "squares.kernel")
        command = ["cargo", "run", "--quiet", "--locked", "--release", "--package", "attnproto-sys"]
        target = ["--target-dir", RUST.parent / "build" / "rust", "--example", "squares", "--"]
        subprocess.run([*command, *target, library_path(), kernel], cwd=RUST, check=True)


if __name__ == "__main__":
    main()

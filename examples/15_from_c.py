"""A kernel for a program in C: exported as a file, which libattnproto opens without Python."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from attnproto.device.export import export
from attnproto.prototypes.rust_crates import library_path

TEXT = """
kernel void squares(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                    constant uint& n [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  if (i < n) y[i] = x[i] * x[i];
}
"""
HERE = Path(__file__).parent


def main() -> None:
    """Export the kernel, build 15_from_c.c against cpp/c_api.h, and run it."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("found no C compiler, needs cc on the path")
    with tempfile.TemporaryDirectory() as folder:
        kernel = export(TEXT, "squares", Path(folder) / "squares.kernel")
        program = Path(folder) / "from_c"
        sources = ["-I", HERE.parent / "cpp", HERE / "15_from_c.c"]
        subprocess.run([compiler, "-std=c99", *sources, "-o", program, "-ldl"], check=True)
        subprocess.run([program, library_path(), kernel], check=True, env={})


if __name__ == "__main__":
    main()

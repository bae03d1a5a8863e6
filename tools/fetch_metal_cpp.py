"""Fetch the metal-cpp headers out of a pinned wheel, after checking its hash.

Apple's own archive has no published hash; the wheel on the package index does.
"""

from __future__ import annotations

import argparse
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile

_WANTED = ("mlx/include/metal_cpp/", "mlx/lib/libmlx.dylib")


def fetch(package: str, sha256: str, into: pathlib.Path) -> None:
    """Download the wheel, compare its hash and unpack what builds and checks read."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--platform", "macosx_15_0_arm64"]
        command += ["--python-version", "3.12", "--dest", folder, package]
        subprocess.run(command, check=True)
        (wheel,) = pathlib.Path(folder).glob("*.whl")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest != sha256:
            raise SystemExit(
                f"[metal-cpp] found sha256 {digest} for {package}, needs {sha256}; "
                "the package changed: check it before changing the pin"
            )
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(_WANTED):
                    archive.extract(name, into)


def main() -> None:
    """Read the arguments CMake passes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", required=True)
    parser.add_argument("--sha256", required=True)
    parser.add_argument("--into", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    fetch(arguments.package, arguments.sha256, arguments.into)


if __name__ == "__main__":
    main()

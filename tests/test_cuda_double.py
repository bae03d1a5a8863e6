"""Starts the checks of the cuda device over a double of NVIDIA's driver, each in a process."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "cuda_double"
CHECKS = [
    one.name
    for one in ast.parse((HERE / "checks.py").read_text()).body
    if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")
]


@pytest.fixture(scope="session")
def double(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler and Linux, where a library is known by its soname")
    library = tmp_path_factory.mktemp("cuda") / "double.so"
    options = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    options += ["-Wl,-soname,libcuda.so.1"]
    subprocess.run([compiler, *options, HERE / "driver.c", "-o", library], check=True)
    return library


@pytest.mark.parametrize("check", CHECKS)
def test_the_device_over_a_doubled_driver(double: Path, check: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, f"{HERE / 'checks.py'}::{check}"],
        env={**os.environ, "ATTNPROTO_CUDA_DOUBLE": str(double)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]

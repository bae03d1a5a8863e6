"""The examples run as they stand, and print what is worth seeing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import attnproto
import pytest
from attnproto.prototypes.rust_crates import library_path
from attnproto.sweep.plan import make_plan

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
MEASURED = (ROOT / "results" / "h200" / "findings.jsonl").read_text().count("\n")
SHOWN = {
    "01_first_kernel.py": "[0.  0.5 1.  1.5] ... 499.5",
    "02_reduction.py": "37 rows of 1003: at most",
    "03_matrix_product.py": "C[64, 48] = A[64, 96] B[96, 48]",
    "04_find_a_race.py": "found race at byte",
    "05_lint.py": "line 6, double: ",
    "06_constants_and_archives.py": "collected: flash_float_br8",
    "07_buffers_and_structs.py": "2 dispatches in one submission",
    "08_bfloat.py": "bfloat16   worst error",
    "09_count.py": "both read the same memory",
    "10_compare_two_kernels.py": "wide / narrow: ",
    "11_paged_cache.py": "sequence 2: 130 keys in pages",
    "12_own_prototype.py": "1 finding; emulated: Powers of two are within",
    "14_knowledge_base.py": f"0 findings added, {MEASURED} were there",
    "15_from_c.py": "emulated: y[99] = 9801",
}
# Built by cargo, which `make rust-test` has; and a list of points, not a program.
ELSEWHERE = {"13_sweep.toml", "15_from_c.c", "16_from_rust.py"}


def test_every_example_is_run_and_none_is_long():
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert files == SHOWN.keys() | ELSEWHERE
    for path in filter(Path.is_file, EXAMPLES.iterdir()):
        assert len(path.read_text().splitlines()) < 80, path.name


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_runs_and_shows_its_point(name, tmp_path):
    if name == "15_from_c.py" and (library_path() is None or shutil.which("cc") is None):
        pytest.skip("no libattnproto or no C compiler here")
    done = run(name, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert SHOWN[name] in done.stdout


def test_the_examples_sweep_has_points_of_both_prototypes(tmp_path):
    text = (EXAMPLES / "13_sweep.toml").read_text()
    plan = make_plan(mode="quick", device="cpu", sweep_text=text, out=tmp_path / "out")
    names = [task.prototype for task in plan.tasks]
    assert names == ["flash"] * 5 + ["linear"] * 2


def run(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run an example as a user does, with the cpu device and this very package."""
    package = str(Path(attnproto.__file__).parents[1])
    environment = {**os.environ, "ATTNPROTO_DEVICE": "cpu", "PYTHONPATH": package}
    return subprocess.run(
        [sys.executable, EXAMPLES / name],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip

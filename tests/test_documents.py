"""What the documents say is so: their paths exist, their examples run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import attnproto
import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "NOTICE", "docs/*.md", "results/h200/README.md", "rust/README.md",
                    "cpp/*/README.md", "metal/*/README.md", "python/attnproto/*/README.md")
    for path in ROOT.glob(pattern)
)  # fmt: skip
_BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: file=(?P<file>\S+))?\n(?P<text>.*?)^```$", re.M | re.S
)


def blocks(document: str, language: str) -> list[tuple[str | None, str]]:
    """The fenced blocks of one language: the file each belongs to, and its text."""
    found = _BLOCK.finditer((ROOT / document).read_text())
    return [(m["file"], m["text"]) for m in found if m["language"] == language]


def written(document: str, language: str, folder: Path) -> None:
    """Write the files that a document's blocks make up, block after block."""
    files: dict[str, str] = {}
    for name, text in blocks(document, language):
        if name:
            files[name] = f"{files[name]}\n\n{text}" if name in files else text
    assert files
    for name, text in files.items():
        (folder / name).write_text(text)


def test_the_prototype_of_the_document_runs_and_concludes(tmp_path: Path) -> None:
    document = "docs/adding-a-prototype.md"
    written(document, "python", tmp_path)
    script = "\n".join(text for name, text in blocks(document, "python") if not name)
    assert "assert" in script
    package = str(Path(attnproto.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), package])}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Row sums by simd_sum" in (tmp_path / "out" / "findings.jsonl").read_text()


def test_the_device_of_the_document_compiles_and_keeps_the_contract(tmp_path: Path) -> None:
    written("docs/adding-a-device.md", "cpp", tmp_path)
    own = shutil.which("c++")
    compiler = [own] if own else [sys.executable, "-m", "ziglang", "c++"]
    command = [*compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'cpp'}"]
    sources = [tmp_path / "serial_device.cpp", ROOT / "cpp" / "check.cpp"]
    made = subprocess.run(
        [*command, *map(str, sources), "-o", str(tmp_path / "serial")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-3000:]
    done = subprocess.run([tmp_path / "serial"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.returncode
    assert "[dispatch twice] found 2048 threads" in done.stdout

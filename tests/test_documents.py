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
from attnproto.compiler.frontend import clang
from attnproto.compiler.frontend.entry_points import with_entries
from attnproto.compiler.frontend.program import library_text, translated
from attnproto.compiler.frontend.source import Source
from attnproto.compiler.pass_manager import PassManager
from attnproto.compiler.target import host_target
from attnproto.compiler.targets.host import ENGINES, HOST, NativeFrontEnd
from attnproto.compiler.targets.nvptx import NVPTX, PtxFrontEnd
from attnproto.device.library import describe

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "NOTICE", "docs/**/*.md", "results/h200/README.md", "rust/README.md",
                    "cpp/*/README.md", "metal/*/README.md", "python/attnproto/*/README.md")
    for path in ROOT.glob(pattern)
)  # fmt: skip
_BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: (?:file|stage)=(?P<file>\S+))?\n(?P<text>.*?)^```$", re.M | re.S
)


def blocks(document: str, language: str) -> list[tuple[str | None, str]]:
    """The fenced blocks of one language: the file each belongs to, and its text."""
    matches = _BLOCK.finditer((ROOT / document).read_text())
    return [(m["file"], m["text"]) for m in matches if m["language"] == language]


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


def test_the_first_lines_of_the_readme_run_as_they_stand(tmp_path: Path) -> None:
    ((_, script),) = blocks("README.md", "python")
    package = str(Path(attnproto.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": package, "ATTNPROTO_DEVICE": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("[0.  0.5 1.  1.5] on MSL on the host's processor")
    assert done.stdout.endswith("(1, 8, 100, 64)\n")


def test_the_page_on_arrays_runs_as_it_stands(tmp_path: Path) -> None:
    ((_, script),) = blocks("docs/how-to/arrays.md", "python")
    package = str(Path(attnproto.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": package},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("[[ -0.  -2.  -4.  -6.]")
    assert done.stdout.endswith("[-0. -3. -6. -9.]\n")


def test_the_device_of_the_document_compiles_and_keeps_the_contract(tmp_path: Path) -> None:
    written("docs/adding-a-device.md", "cpp", tmp_path)
    own = shutil.which("c++")
    compiler = [own] if own else [sys.executable, "-m", "ziglang", "c++"]
    command = [*compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'cpp'}"]
    sources = [tmp_path / "serial_device.cpp", ROOT / "cpp" / "check.cpp"]
    compilation = subprocess.run(
        [*command, *map(str, sources), "-o", str(tmp_path / "serial")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert compilation.returncode == 0, compilation.stderr[-3000:]
    done = subprocess.run([tmp_path / "serial"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.returncode
    assert "[dispatch twice] found 2048 threads" in done.stdout


def stages(text: str) -> dict[str, str]:
    """What the front end and each pass of both targets make of the document's kernel."""
    descriptor = describe("total", {0: True}, distinct_buffers=True)
    texts = {}
    for front_end in (PtxFrontEnd("sm_90"), NativeFrontEnd(engine="fibers"), NativeFrontEnd()):
        passes = PassManager(front_end.pass_names(), show=texts.__setitem__)
        kernel = front_end.lower(front_end.request(text, descriptor), passes)
        if isinstance(front_end, PtxFrontEnd):
            texts["ptx"] = front_end.assembly(kernel)
    texts["text"] = text
    rewritten = translated(Source(text))
    texts["rewritten"] = with_entries(rewritten, rewritten.text)
    texts["ir"] = library_text(text, host_target()).ir_text
    return texts


@pytest.mark.skipif(
    not host_target().triple.startswith("x86_64") or "zig" not in clang.compiler_version(),
    reason="the document shows what ziglang's clang writes for x86-64",
)
def test_the_stages_of_the_document_are_those_of_the_code() -> None:
    shown = {
        name: text for language in ("metal", "cpp", "llvm", "ptx")
        for name, text in blocks("docs/compiler.md", language) if name
    }  # fmt: skip
    real = stages(shown["text"])
    assert len(shown) == 9
    assert shown.keys() <= real.keys()
    for name, text in shown.items():
        at = 0
        for line in text.splitlines():
            if line.strip() in ("", "..."):
                continue
            place = real[name].find(line, at)
            assert place >= 0, f"{name} has no line (here): {line}"
            at = place + len(line)


# What is made, not kept: by a build, a run or a download; and what a reader is to add.
_MADE = re.compile(
    r"^(build/|out\b|results/(2|quick|full)|.*NAME|.*row_sum|.*\.venv|mlx/)|report\.html$"
)
_ROOTS = ("cpp", "metal", "python", "tests", "docs", "tools", "results", "rust", "make", "bench",
          "cmake", "compiler", "frontend", "passes", "analysis", "ir", "vectorize", "tensor_core",
          "targets", "codegen", "lint")  # fmt: skip


def named_paths(text: str) -> list[str]:
    """Paths in backticks, as a link's target, or in a plain notice."""
    prose = _BLOCK.sub("", text)
    paths = re.findall(r"`([\w./-]+)`", prose) + re.findall(r"\]\(([\w./-]+)\)", prose)
    rooted = [path for path in paths if path.split("/")[0] in _ROOTS and "/" in path]
    return [path for path in rooted if not _MADE.search(path)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    places = (ROOT, ROOT / "python" / "attnproto", document.parent,
              ROOT / "python" / "attnproto" / "compiler",
              ROOT / "python" / "attnproto" / "compiler" / "headers" / "include")  # fmt: skip
    text = document.read_text()
    lost = [path for path in named_paths(text)
            if not any((place / path).exists() for place in places)]  # fmt: skip
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", _BLOCK.sub("", text))
    lost += [link for link in links if not (document.parent / link).exists()]
    assert lost == []


def test_every_source_that_a_comment_names_exists() -> None:
    """By its last name: a comment says ``device.h`` or ``cpp/device.h``."""
    named = re.compile(r"[\w/]+\.(?:py|cpp)\b")
    everything = ("python", "cpp", "metal", "tests", "tools", "bench")
    names = {path.name for folder in everything for path in (ROOT / folder).rglob("*.*")}
    sources = [
        path for folder in ("python", "cpp", "metal") for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".cpp", ".h", ".metal")
    ]  # fmt: skip
    assert len(sources) > 300
    lost = [(path.name, one) for path in sources for one in named.findall(path.read_text("utf-8"))
            if one.rsplit("/", 1)[-1] not in names]  # fmt: skip
    assert lost == []


def test_the_compilers_page_lists_every_pass_in_the_order_of_its_target() -> None:
    text = (ROOT / "python" / "attnproto" / "compiler" / "README.md").read_text()
    host, nvidia = re.split("^## ", text, flags=re.M)[2:4]
    listed = [re.findall(r"^\| `(\w+)` \|", part, re.M) for part in (host, nvidia)]
    assert listed[0] == [p.name for p in (*HOST, *ENGINES["lockstep"], *ENGINES["fibers"])]
    assert listed[1] == [p.name for p in NVPTX]


def test_the_compilers_page_names_every_module() -> None:
    compiler = ROOT / "python" / "attnproto" / "compiler"
    named = set(re.findall(r"`(?:\w+/)*(\w+)(?:\.py)?`", (compiler / "README.md").read_text()))
    modules = {path.stem for path in compiler.rglob("*.py") if path.stem != "__init__"}
    assert modules - named == set()

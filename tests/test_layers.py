"""Imports point one way: from the command line down to the tables that all share.

And tests stand alone: what several of them need is in tests/support.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import attnproto
import pytest

ROOT = Path(attnproto.__file__).parent

# The packages, from the top: a module imports from its own line and from those below it.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("commands",),
    ("report", "sweep"),
    ("prototypes",),
    ("model",),
    ("results",),
    ("measure",),
    ("kernels",),
    ("archive",),
    ("device", "reference"),
    ("compiler",),
    ("problem",),
    ("dtypes", "errors", "files", "settings"),
)
# The compiler's own, likewise.
COMPILER = (
    ("targets", "lint"),
    ("pass_manager",),
    ("codegen",),
    ("vectorize", "tensor_core", "passes"),
    ("analysis", "frontend"),
    ("air",),
    ("ir",),
    ("target", "interface", "object_cache"),
    ("llvm_lock",),
)
# What is above all layers, or beside them: the package's face, and the C++ core.
ANYWHERE = ("", "_core")


def modules() -> dict[str, Path]:
    """Every module of the package by its name in it."""
    paths = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        paths[".".join(p for p in parts if p != "__init__")] = path
    return paths


MODULES = modules()


def imported(name: str, path: Path) -> set[str]:
    """Modules of the package that one imports, anywhere in its text, annotations' too."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            absolute = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(["attnproto", *package][: len(package) + 2 - node.level])
            origin = f"{base}.{node.module}".rstrip(".") if node.level else node.module
            origin = origin.removesuffix(".None")
            absolute = [f"{origin}.{alias.name}" for alias in node.names]
        else:
            continue
        for one in absolute:
            inner = one.removeprefix("attnproto.") if one.startswith("attnproto.") else None
            while inner is not None and inner not in MODULES and inner != "_core":
                inner = inner.rpartition(".")[0]
            if inner is not None:
                names.add(inner)
    return names


IMPORTS = {name: imported(name, path) for name, path in MODULES.items()}


def level(layers: tuple[tuple[str, ...], ...], name: str) -> int | None:
    return next((i for i, layer in enumerate(layers) if name in layer), None)


def upward(layers: tuple[tuple[str, ...], ...], prefix: str = "") -> list[str]:
    """Imports from a higher layer, or between two packages of one."""
    violations = []
    for name, targets in IMPORTS.items():
        if not name.startswith(prefix) or name == prefix.rstrip("."):
            continue
        own = name.removeprefix(prefix).split(".")[0]
        for target in sorted(targets):
            if not target.startswith(prefix):
                continue
            other = target.removeprefix(prefix).split(".")[0]
            if own == other or {own, other} & set(ANYWHERE):
                continue
            if level(layers, other) <= level(layers, own):
                violations.append(f"{name} imports {target}")
    return violations


def test_every_package_has_its_layer():
    top = {name.split(".")[0] for name in MODULES} - set(ANYWHERE)
    assert top == {name for layer in LAYERS for name in layer}
    inner = {n.split(".")[1] for n in MODULES if n.startswith("compiler.")}
    assert inner == {name for layer in COMPILER for name in layer}


def test_the_page_on_the_architecture_lists_the_layers_in_their_order():
    page = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
    table = page.split("## Layers")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert re.findall(r"`(\w+)`", "".join(rows)) == [one for layer in LAYERS for one in layer]


def test_no_module_imports_from_a_layer_above_its_own():
    assert upward(LAYERS) == []


def test_inside_the_compiler_too():
    assert upward(COMPILER, "compiler.") == []


def test_modules_import_each_other_in_no_circle():
    state: dict[str, bool] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if state.get(name) is False:
            pytest.fail(f"a circle: {' > '.join([*path[path.index(name) :], name])}")
        if name in state:
            return
        state[name] = False
        for target in sorted(IMPORTS.get(name, ())):
            if target and target != name:
                visit(target, (*path, name))
        state[name] = True

    for name in MODULES:
        visit(name, ())


TESTS = Path(__file__).parent
BENCH = TESTS.parent / "bench"


def names_in_imports(path: Path) -> set[str]:
    """Each part of the names of modules that a file imports, and the names it takes from them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            names.update(part for a in node.names for part in f"{module}.{a.name}".split("."))
    return names


def test_no_test_planted_bug_or_benchmark_imports_a_test_module():
    files = [*TESTS.rglob("*.py"), *BENCH.rglob("*.py")]
    assert len(files) > 100
    wrong = {
        f"{path.relative_to(TESTS.parent)} imports {name}"
        for path in files
        for name in names_in_imports(path)
        if name.startswith("test_")
    }
    assert wrong == set()


def test_beside_the_tests_lie_no_modules_that_they_share():
    assert {p.name for p in TESTS.glob("*.py") if not p.name.startswith("test_")} == {"conftest.py"}

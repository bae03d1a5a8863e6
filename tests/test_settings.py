"""Every environment variable that is read stands in one table."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import attnproto
import pytest
from attnproto import settings

ROOT = Path(__file__).parents[1]
PACKAGE = Path(attnproto.__file__).parent
TABLE = {setting.name for setting in settings.SETTINGS}


def test_the_table_is_the_only_reader_of_the_environment():
    """Handing the whole environment on, as to a child, is not reading one of its variables."""
    reads = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            got = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            item = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load)
            if got in ("os.environ.get", "os.getenv", "environ.get") or (
                item and ast.unparse(node.value) == "os.environ"
            ):
                reads.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert [one.split(":")[0] for one in reads] == ["settings.py"], reads


def test_the_table_has_every_variable_that_cpp_and_rust_read():
    read = {}
    for path in (*(ROOT / "cpp").rglob("*.cpp"), *(ROOT / "rust").rglob("*.rs")):
        for name in re.findall(
            r'(?:getenv|env::var(?:_os)?|place)\(\s*"(\w+)"', path.read_text(encoding="utf-8")
        ):
            read.setdefault(name, path)
    assert {"TMPDIR", "MTL_SHADER_VALIDATION", "ATTNPROTO_KERNELS"} <= read.keys()
    assert {name: path for name, path in read.items() if name not in TABLE} == {}


def test_the_table_has_no_variable_that_nothing_reads():
    places = ((PACKAGE, "*.py"), (ROOT / "cpp", "*.cpp"), (ROOT / "rust", "*.rs"))
    files = [path for folder, kind in places for path in folder.rglob(kind)]
    texts = [path.read_text("utf-8") for path in files if path.name != "settings.py"]
    assert [name for name in TABLE if not any(f'"{name}"' in text for text in texts)] == []


def test_a_name_stands_once_and_its_texts_are_phrases():
    assert len(TABLE) == len(settings.SETTINGS)
    for setting in settings.SETTINGS:
        assert setting.meaning
        assert setting.default
        assert not (setting.meaning + setting.default).endswith("."), setting.name


def test_a_variable_that_the_table_lacks_cannot_be_read(monkeypatch):
    monkeypatch.setenv("ATTNPROTO_NEW", "1")
    with pytest.raises(KeyError, match="found ATTNPROTO_NEW, needs a variable of SETTINGS"):
        settings.value_of("ATTNPROTO_NEW")


def test_a_value_is_the_environments_and_none_where_it_is_unset(monkeypatch):
    monkeypatch.setenv("ATTNPROTO_DEVICE", "cpu")
    assert settings.value_of("ATTNPROTO_DEVICE") == "cpu"
    monkeypatch.delenv("ATTNPROTO_DEVICE")
    assert settings.value_of("ATTNPROTO_DEVICE") is None

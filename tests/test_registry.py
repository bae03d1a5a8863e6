import re

import pytest
from attnproto.errors import KernelCompileError
from attnproto.kernels import text as registry
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.text import TemplateArgument, flatten, instantiate, metal_root

FILES = sorted(
    str(file.relative_to(metal_root()).as_posix()) for file in metal_root().rglob("*.metal")
)


def write(folder, **files):
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_an_include_is_put_in_place_once_and_before_its_reader(tmp_path):
    root = write(
        tmp_path,
        base__h="#pragma once\n#include <metal_stdlib>\nint base;\n",
        left__h='#pragma once\n#include "base.h"\nint left;\n',
        right__h='#pragma once\n#include "base.h"\n#include "left.h"\nint right;\n',
        all__metal='#include <metal_stdlib>\n#include "right.h"\n#include "left.h"\nint all;\n',
    )
    text = flatten("all.metal", root)
    assert re.findall(r"int (\w+);", text) == ["base", "left", "right", "all"]
    assert text.count("#include") == 1
    assert "#pragma once" not in text


def test_a_cycle_of_includes_ends(tmp_path):
    root = write(tmp_path, a__h='#include "b.h"\nint a;\n', b__h='#include "a.h"\nint b;\n')
    assert re.findall(r"int (\w+);", flatten("a.h", root)) == ["b", "a"]


def test_a_missing_include_is_named_with_its_reader(tmp_path):
    root = write(tmp_path, a__metal='#include "gone.h"\n')
    with pytest.raises(KernelCompileError, match=r"no file gone\.h \(included by a\.metal\)"):
        flatten("a.metal", root)


def test_an_include_outside_the_kernel_folder_is_refused(tmp_path):
    (tmp_path / "secret.h").write_text("int secret;\n")
    root = tmp_path / "metal"
    root.mkdir()
    write(root, a__metal='#include "../secret.h"\n')
    with pytest.raises(KernelCompileError, match="below the kernel folder"):
        flatten("a.metal", root)


def test_a_foreign_system_header_is_refused(tmp_path):
    root = write(tmp_path, a__metal="#include <vector>\n")
    with pytest.raises(KernelCompileError, match=r"<vector> in a\.metal"):
        flatten("a.metal", root)


def test_a_package_without_its_kernels_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "a" / "b" / "c" / "registry.py"))
    with pytest.raises(KernelCompileError, match="needs metal/common"):
        registry.metal_root.__wrapped__()


def test_an_installed_package_finds_its_own_kernels(tmp_path, monkeypatch):
    package = tmp_path / "site" / "attnproto"
    (package / "metal" / "common").mkdir(parents=True)
    monkeypatch.setattr(registry, "__file__", str(package / "kernels" / "registry.py"))
    assert registry.metal_root.__wrapped__() == package / "metal"


def test_the_name_joins_every_template_argument():
    source = instantiate(
        "flash/flash.metal",
        "flash",
        (TemplateArgument("half", "half"), TemplateArgument("8", "d8")),
    )
    assert source.name == "flash_half_d8"
    assert source.text.endswith(
        'template [[host_name("flash_half_d8")]] [[kernel]] decltype(flash<half, 8>) '
        "flash<half, 8>;\n"
    )


def test_equal_texts_have_equal_digests_and_a_changed_one_another():
    tile = FlashTile(32, 64, 64, "float16")
    assert tile.source.digest == FlashTile(32, 64, 64, "float16").source.digest
    assert tile.source.digest != FlashTile(32, 80, 64, "float16").source.digest
    assert re.fullmatch("[0-9a-f]{16}", tile.source.digest)


def test_every_tile_has_its_own_kernel_name():
    tiles = [
        FlashTile(br, bc, d, dtype, rows=rows, keys=keys, rescale=rescale)
        for br in (16, 32)
        for bc in (64, 128)
        for d in (64, 72)
        for dtype in ("float16", "bfloat16")
        for rows in (8, 16)
        for keys in ("lane", "matrix", "staged16", "ahead16")
        for rescale in ("always", "grown", "threshold")
    ]
    assert len({tile.name for tile in tiles}) == len(tiles)


@pytest.mark.parametrize("path", FILES)
def test_kernel_text_is_self_contained(path):
    text = flatten(path)
    assert not re.search(r'#include\s+"', text)
    assert set(re.findall(r"#include\s+<(\w+)>", text)) <= {
        "metal_stdlib",
        "metal_simdgroup_matrix",
    }


@pytest.mark.parametrize("path", FILES)
def test_kernel_text_has_no_double_literal(path):
    code = re.sub(r"//[^\n]*", "", flatten(path))
    assert not re.findall(
        r"(?<![\w.])(?:\d+\.\d*|\.\d+|\d+[eE]\d+)(?:[eE][+-]?\d+)?(?![\w.])", code
    )


@pytest.mark.parametrize("path", FILES)
def test_every_function_constant_has_its_own_number(path):
    numbers = re.findall(r"\[\[function_constant\((\d+)\)\]\]", flatten(path))
    assert len(set(numbers)) == len(numbers)

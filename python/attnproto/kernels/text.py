"""Kernel text: one string a kernel, ready for a compiler that has no search path.

Metal's run-time compiler is handed a string. The registry puts a ``.metal`` file and everything it
includes into that string, each file once, and appends one explicit instantiation of the template
that the caller wants, named after all of its arguments.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from attnproto.device.pipelines import KernelSource
from attnproto.errors import KernelCompileError

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+(?:"([^"]+)"|<([^>]+)>)[^\n]*\n?', re.MULTILINE)
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once[^\n]*\n?", re.MULTILINE)
_SYSTEM_HEADERS = ("metal_stdlib", "metal_simdgroup_matrix")


@dataclass(frozen=True)
class TemplateArgument:
    """One template argument: its MSL spelling and its part of the kernel's name."""

    msl: str
    label: str


@functools.cache
def metal_root() -> Path:
    """Return the folder of the kernel families.

    An installed package carries it as ``attnproto/metal``; a source checkout and an editable
    install have it beside ``python/``.

    Returns:
        The folder that holds ``common``, ``flash`` and the other families.

    Raises:
        KernelCompileError: when neither place holds it.
    """
    here = Path(__file__).resolve()
    for root in (here.parents[1] / "metal", here.parents[3] / "metal"):
        if (root / "common").is_dir():
            return root
    raise KernelCompileError(
        f"[registry.metal_root] found no kernel folder near {here.parents[1]}, needs metal/common; "
        "reinstall attnproto or work in a source checkout"
    )


def flatten(path: str, root: Path | None = None) -> str:
    """Return the text of a kernel file with its own includes put in place, each once.

    Args:
        path: file below ``root`` with forward slashes, such as ``flash/flash.metal``.
        root: folder of the families; ``metal_root()`` by default.

    Returns:
        The text: the two Metal headers first when any file asks for them, then every file before
        the first one that includes it, headed by a comment with its path.

    Raises:
        KernelCompileError: a file is missing, lies outside ``root``, or includes a system header
            other than ``<metal_stdlib>`` and ``<metal_simdgroup_matrix>``.
    """
    root = metal_root() if root is None else root
    seen: set[str] = set()
    headers: list[str] = []
    parts: list[str] = []

    def add(name: str, origin: str) -> None:
        if name in seen:
            return
        seen.add(name)
        file = root / name
        if name.startswith("..") or not file.is_file():
            raise KernelCompileError(
                f"[registry.flatten] found no file {name} (included by {origin}), needs one below "
                "the kernel folder; correct the include"
            )
        text = _ONCE.sub("", file.read_text(encoding="utf-8"))
        for own, system in _INCLUDE.findall(text):
            if own:
                add(_normal(PurePosixPath(name).parent / own), name)
            elif system not in _SYSTEM_HEADERS:
                raise KernelCompileError(
                    f"[registry.flatten] found <{system}> in {name}, needs only "
                    f"{' and '.join(f'<{h}>' for h in _SYSTEM_HEADERS)}; remove the include"
                )
            elif system not in headers:
                headers.append(system)
        parts.append(f"// {name}\n{_INCLUDE.sub('', text).strip()}\n")

    add(_normal(PurePosixPath(path)), "the caller")
    opening = "".join(f"#include <{h}>\n" for h in _SYSTEM_HEADERS if h in headers)
    return opening + "\n" + "\n".join(parts)


def instantiate(path: str, function: str, arguments: tuple[TemplateArgument, ...]) -> KernelSource:
    """Return the text of one kernel: its flattened file and one explicit instantiation.

    Args:
        path: file below the kernel folder.
        function: name of the kernel template in it.
        arguments: every template argument, in order.

    Returns:
        The source, named ``function`` and the arguments' labels joined by ``_``.

    Raises:
        KernelCompileError: as ``flatten``.
    """
    name = "_".join([function, *(a.label for a in arguments)])
    call = f"{function}<{', '.join(a.msl for a in arguments)}>"
    text = (
        f"{_flattened(path)}\n"
        f'template [[host_name("{name}")]] [[kernel]] decltype({call}) {call};\n'
    )
    return KernelSource(name=name, text=text)


def plain(path: str, function: str) -> KernelSource:
    """Return the text of a kernel that is no template.

    Args:
        path: file below the kernel folder.
        function: name of the kernel in it.

    Returns:
        The source, named ``function``.

    Raises:
        KernelCompileError: as ``flatten``.
    """
    return KernelSource(name=function, text=_flattened(path))


@functools.cache
def _flattened(path: str) -> str:
    return flatten(path)


def _normal(path: PurePosixPath) -> str:
    """Resolve ``..`` by name alone: the folder may not exist on disk as a real path."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)

"""What names a text's IR in the cache: the text, where it is for, and the compiler that made it."""

from __future__ import annotations

import functools
from pathlib import Path

from attnproto.compiler import object_cache
from attnproto.compiler.target import Target, processor_name

from . import clang


@functools.cache
def own_sources() -> str:
    """Hash of the compiler: a compiled kernel depends on it."""
    here = Path(__file__).parents[1]
    files = [
        *here.glob("**/*.py"),
        *(f for f in clang.HEADERS.glob("**/*") if f.is_file() and f.suffix != ".md"),
    ]
    return object_cache.key(*(f.read_text() for f in sorted(files)))


def text_key(text: str, target: Target) -> str:
    """Name of a text's IR in the cache, and of its head in an archive."""
    parts = ("ir", text, target.triple, *target.options, clang.compiler_version())
    return object_cache.key(*parts, _processor(target), own_sources())


def _processor(target: Target) -> str:
    """The processor that the target's options call native, if they do."""
    if not any(option.endswith("=native") for option in target.options):
        return ""

    return processor_name(target)

"""What each way of choosing a modification leaves in the code that clang makes for the host."""

from __future__ import annotations

import re
from typing import Any

from attnproto.kernels import score_dispatch
from attnproto.kernels.flash import FlashProblem
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.score_dispatch import WAYS, Modification

_FUNCTIONS = re.compile(r"^define .*?^}", re.M | re.S)
_NAMES = re.compile(r"%[\w.]+|![\w.]+|#\d+|@attn_entry_\d+|@_Z\w+")
_INSTRUCTION = re.compile(r"^  \S", re.M)
_CALLED = re.compile(r"call [^\n]*@_Z\d+(?:called|modify)_score")
_INDIRECT = re.compile(r"call [^\n@]*%\w+\(")


def code_of_ways(
    problem: FlashProblem, tile: FlashTile, modification: Modification
) -> dict[str, Any]:
    """Compile every way and describe its code.

    Args:
        problem: Its dimensions fix the function constants.
        tile: Geometry.
        modification: What is chosen.

    Returns:
        For each way: ``instructions_``, ``calls_`` (sites left, direct) and ``indirect_`` (sites
        left, through a table), and ``same_`` (whether instructions, operands and order are
        those of inline).
    """
    result: dict[str, Any] = {}
    inline = ""
    for way in WAYS:
        code = "\n".join(_FUNCTIONS.findall(_optimised(problem, tile, way, modification)))
        bare = _NAMES.sub("", code)
        inline = inline or bare
        result[f"instructions_{way}"] = len(_INSTRUCTION.findall(code))
        result[f"calls_{way}"] = len(_CALLED.findall(code))
        result[f"indirect_{way}"] = len(_INDIRECT.findall(code))
        result[f"same_{way}"] = bare == inline
    return result


def _optimised(problem: FlashProblem, tile: FlashTile, way: str, modification: Modification) -> str:
    from attnproto.compiler.targets.host import NativeFrontEnd
    from attnproto.device.discovery import open_device
    from attnproto.device.library import describe

    ready = score_dispatch.prepare(open_device("cpu"), problem, tile, way, modification)
    described = describe(tile.source.name, ready.constants, **ready.linked)
    return NativeFrontEnd().optimised_ir(ready.library.text, described)

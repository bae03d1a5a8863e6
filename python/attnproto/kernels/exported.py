"""The flash kernel's variants as files, for hosts that load them through the C ABI."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..msl.export import export
from .tile import default_tile
from .variant import Variant

INDEX = "flash.tsv"
# Long enough for the tile that long sequences get.
_QUERIES = 1024


def export_flash(folder: str | os.PathLike[str], dimensions: Sequence[int] = (64,)) -> Path:
    """Write float32 variants of the flash kernel, causal and not, for any length.

    Args:
        folder: where; ``flash.tsv`` lists D, causal, Br, threads and the file of each.
        dimensions: head dimensions.

    Returns:
        The folder.

    Raises:
        UnsupportedProblem: no kernel covers a dimension.
        KernelCompileError: a file cannot be written.
    """
    folder = Path(folder)
    lines = []
    for d in dimensions:
        tile = default_tile(_QUERIES, d, "float32")
        for causal in (False, True):
            constants = {
                **Variant(causal=causal).constants,
                "aligned_queries": False,
                "aligned_keys": False,
            }
            name = f"flash_float32_d{d}{'_causal' if causal else ''}.so"
            export(tile.source.text, tile.source.name, folder / name, constants)
            lines.append(f"{d}\t{int(causal)}\t{tile.br}\t{tile.threads}\t{name}\n")
    (folder / INDEX).write_text("".join(lines))
    return folder


if __name__ == "__main__":
    export_flash(sys.argv[1])

"""The flash kernel's variants as files, for hosts that reach them through the C ABI."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from attnproto.device.export import export
from attnproto.errors import UnsupportedProblem

from .flash_tile import default_tile
from .flash_variant import Variant

INDEX = "flash.tsv"
# Long enough for the tile that long sequences get.
_QUERIES = 1024
_SUFFIXES = {"cpu": ".so", "cuda": ".ptx", "metal": ".metal"}


def export_flash(
    folder: str | os.PathLike[str], dimensions: Sequence[int] = (64,), device: str = "cpu"
) -> Path:
    """Write float32 variants of the flash kernel, causal and not, for any length.

    Args:
        folder: where; ``flash.tsv`` names the device, then lists D, causal, Br, threads, file,
            function and function constants of each.
        dimensions: head dimensions.
        device: ``cpu`` writes shared objects, ``cuda`` PTX for this machine's GPU,
            ``metal`` texts, which its host compiles.

    Returns:
        The folder.

    Raises:
        UnsupportedProblem: no kernel covers a dimension, or another device.
        KernelCompileError: a file cannot be written.
        DeviceUnavailable: there is no such device, which code for it needs.
    """
    if device not in _SUFFIXES:
        raise UnsupportedProblem(
            f"[flash.export] found device {device!r}, needs one of {', '.join(_SUFFIXES)}; pass one"
        )
    folder = Path(folder)
    lines = [f"{device}\n"]
    for d in dimensions:
        tile = default_tile(_QUERIES, d, "float32")
        for causal in (False, True):
            constants = {
                **Variant(causal=causal).constants,
                "aligned_queries": False,
                "aligned_keys": False,
            }
            name = f"flash_float32_d{d}{'_causal' if causal else ''}{_SUFFIXES[device]}"
            if device == "metal":
                (folder / name).write_text(tile.source.text)
            else:
                export(tile.source.text, tile.source.name, folder / name, constants, device)
            chosen = ",".join(f"{key}={int(value)}" for key, value in constants.items())
            fields = (d, int(causal), tile.br, tile.threads, name, tile.source.name, chosen)
            lines.append("\t".join(map(str, fields)) + "\n")
    (folder / INDEX).write_text("".join(lines))
    return folder


if __name__ == "__main__":
    export_flash(sys.argv[1], device=sys.argv[2] if len(sys.argv) > 2 else "cpu")

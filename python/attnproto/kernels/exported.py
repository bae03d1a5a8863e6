"""The flash kernel's variants as files, for hosts that reach them through the C ABI."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from attnproto.device.discovery import open_device
from attnproto.device.export import export
from attnproto.errors import UnsupportedProblem

from .flash_tile import FlashTile, default_tile
from .flash_variant import Variant
from .tuned import TUNED, tuned_tile

INDEX = "flash.tsv"
# Long enough for the tile that long sequences get.
_QUERIES = 1024
_SUFFIXES = {"cpu": ".so", "cuda": ".ptx", "metal": ".metal"}


def export_flash(
    folder: str | os.PathLike[str],
    dimensions: Sequence[int] = (64,),
    device: str = "cpu",
    tile: str | None = None,
) -> Path:
    """Write float32 variants of the flash kernel, causal and not, for any length.

    Args:
        folder: where; ``flash.tsv`` names the device, then lists D, causal, Br, threads, file,
            function and function constants of each.
        dimensions: head dimensions.
        device: ``cpu`` writes shared objects, ``cuda`` PTX for this machine's GPU,
            ``metal`` texts, which its host compiles.
        tile: ``"tuned"`` for the tiles that ``attnproto tune`` found fastest on the device, at the
            sizes nearest to 1024 queries and keys; ``default_tile`` when None.

    Returns:
        The folder.

    Raises:
        UnsupportedProblem: no kernel covers a dimension, or another device or tile.
        TuningError: as ``tuned_tile``.
        KernelCompileError: a file cannot be written.
        DeviceUnavailable: there is no such device, which code for it needs.
    """
    if device not in _SUFFIXES:
        raise UnsupportedProblem(
            f"[flash.export] found device {device!r}, needs one of {', '.join(_SUFFIXES)}; pass one"
        )
    if tile not in (None, TUNED):
        raise UnsupportedProblem(
            f"[flash.export] found tile={tile!r}, needs 'tuned' or None; pass None"
        )
    folder = Path(folder)
    lines = [f"{device}\n"]
    for d in dimensions:
        for causal in (False, True):
            laid_out = _tile(d, causal, device, tile)
            source = laid_out.source
            constants = {
                **Variant(causal=causal).constants,
                "aligned_queries": False,
                "aligned_keys": False,
            }
            name = f"flash_float32_d{d}{'_causal' if causal else ''}{_SUFFIXES[device]}"
            if device == "metal":
                (folder / name).write_text(source.text)
            else:
                export(source.text, source.name, folder / name, constants, device)
            chosen = ",".join(f"{key}={int(value)}" for key, value in constants.items())
            fields = (d, int(causal), laid_out.br, laid_out.threads, name, source.name, chosen)
            lines.append("\t".join(map(str, fields)) + "\n")
    (folder / INDEX).write_text("".join(lines))
    return folder


def _tile(d: int, causal: bool, device: str, tile: str | None) -> FlashTile:
    if tile is None:
        return default_tile(_QUERIES, d, "float32")
    sizes = {"nq": _QUERIES, "nkv": _QUERIES}
    return tuned_tile(open_device(device), **sizes, d=d, dtype="f32", causal=causal)


if __name__ == "__main__":
    given = dict(zip(("device", "tile"), sys.argv[2:], strict=False))
    export_flash(sys.argv[1], **given)

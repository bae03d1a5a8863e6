"""The texts of each project, unmodified, and how their function constants are set."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from attnproto.device.includes import put_in_place
from support import mlx, third_party

from .mlx_instances import INSTANCES, TYPES

_INCLUDED = re.compile(r'#[ \t]*include[ \t]*"([^"]+)"')


@dataclass(frozen=True)
class Text:
    """A text of a project.

    Args:
        project: whose it is.
        name: of the file, or of what it holds.
        text: with what it includes in place.
        constants: function constants that have another value than true, 1 or 1.0.
        always: kernels that every sample takes.
    """

    project: str
    name: str
    text: str
    constants: Mapping[str, bool | int | float] = field(default_factory=dict)
    always: tuple[str, ...] = ()


def is_sampled(name: str, share: int) -> bool:
    """Whether a kernel is the one of ``share`` that a sample takes, by its name alone."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big") % share == 0


def _whole(text: str, others: Mapping[str, str]) -> str:
    """A text with what it includes of the others, each once, as ``#pragma once`` has it."""
    return put_in_place(text, others) if _INCLUDED.search(text) else text


# ggml compiles its kernels with this defined on every GPU since the M2.
_BFLOAT = "#define GGML_METAL_HAS_BF16 1\n"
# Sizes of tiles and strides that its host sets; what is not here is a switch, or may be 1.
_GGML_CONSTANTS = {
    "FC_flash_attn_ext_ns10": 128, "FC_flash_attn_ext_ns20": 128, "FC_flash_attn_ext_nsg": 4,
    "FC_flash_attn_ext_vec_ns10": 128, "FC_flash_attn_ext_vec_ns20": 128,
    "FC_flash_attn_ext_pad_ncpsg": 64, "FC_flash_attn_ext_vec_nsg": 1,
    "FC_flash_attn_ext_vec_nwg": 1, "FC_mul_mv_nsg": 2, "FC_mul_mv_nxpsg": 8,
}  # fmt: skip


@functools.cache
def ggml_files(package: third_party.Package) -> dict[str, str]:
    """What ggml's source folder has, by path."""
    return package.read("vendor/llama.cpp/ggml/src/")


def ggml(package: third_party.Package = third_party.GGML) -> Iterator[Text]:
    """ggml-metal: a text a family of kernels."""
    files = ggml_files(package)
    others = {
        name.rpartition("/")[2]: text
        for name, text in files.items()
        if name.endswith(".h") or name.startswith("ggml-metal/kernels/")
    }
    for name, text in files.items():
        file = name.rpartition("/")[2]
        included = file.endswith("_common.metal")
        if name.startswith("ggml-metal/") and file.endswith(".metal") and not included:
            yield Text("ggml", file, _BFLOAT + _whole(text, others), _GGML_CONSTANTS)


def ggml_one_text() -> Iterator[Text]:
    """An older ggml-metal, whose kernels are one text: the largest that the field has."""
    for text in ggml(third_party.GGML_ONE_TEXT):
        yield Text("ggml, one text", text.name, text.text, text.constants)


# Of candle's kernels those that no Apple GPU has the threadgroup memory for.
_CANDLE_LARGE = {
    "scaled_dot_product_attention.metal": tuple(
        f"steel_attention_float32_bq32_bk16_bd256_wm4_wn1_mask{mask}"
        for mask in ("float32", "bool_")
    )
}


def candle() -> Iterator[Text]:
    """candle-metal-kernels."""
    files = third_party.CANDLE.read("src/metal_src/")
    for name, text in files.items():
        if name != "utils.metal":
            large = _CANDLE_LARGE.get(name, ())
            yield Text("candle", name, _whole(text, files), always=large)


def mistral() -> Iterator[Text]:
    """mistralrs-paged-attn."""
    files = third_party.MISTRAL.read("src/metal/kernels/")
    metal = {name: text for name, text in files.items() if name.endswith(".metal")}
    for name, text in metal.items():
        if name not in ("utils.metal", "float8.metal"):
            yield Text("mistral.rs", name, _whole(text, metal))


def mlx_texts() -> Iterator[Text]:
    """MLX's templates with instances of each."""
    for headers, calls in INSTANCES.items():
        named = {}
        for call in calls:
            for type_name in TYPES if re.search(r"\bT\b", call) else ("",):
                spelled = re.sub(r"\bT\b", type_name, call)
                named[re.sub(r"\W+", "_", spelled).strip("_")] = spelled
        yield Text("MLX", headers[-1], mlx.instantiated(mlx.flattened(*headers), **named))


def maxsim() -> Iterator[Text]:
    """late-interaction-kernels: a template that its host fills with tile sizes."""
    (text,) = third_party.MAXSIM.read("late_interaction_kernels/mps/_maxsim.metal").values()
    sizes = {
        "BLOCK_Q": 32, "BLOCK_D": 32, "BLOCK_K": 8, "M_TILES": 4, "N_TILES": 4, "D_MAX": 128,
        "K_TILES_MAX": 16, "THREADS_PER_GROUP": 32, "J_PER_TG_BIG": 8, "FLAG_HAS_Q_MASK": 1,
        "FLAG_HAS_D_MASK": 2, "FLAG_NORMALIZE": 4, "FLAG_KD_LAYOUT": 8,
    }  # fmt: skip
    yield Text("late-interaction", "maxsim", text.format(**sizes))

"""carmen-kernels: bodies of kernels, to which MLX's ``fast.metal_kernel`` adds the head.

The head is written here as MLX writes it: inputs with their shapes, then the output, then the
attributes under their own names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from support import third_party

from .mlx_instances import TYPES
from .texts import Text

_ATTRIBUTES = {
    "threadgroup_position_in_grid": "uint3", "thread_position_in_threadgroup": "uint3",
    "thread_index_in_simdgroup": "uint", "simdgroup_index_in_threadgroup": "uint",
}  # fmt: skip
_ELEMENTS = {"scale": "float", "eps": "float", "gq": "uint", "uq": "uint", "dq": "uint"}
TG = 96  # threads; no power of two, and whole simdgroups


@dataclass(frozen=True)
class Operation:
    """An operation: its inputs in order, and its tiles' sizes."""

    inputs: tuple[str, ...]
    sizes: tuple[tuple[str, int], ...] = ()


OPERATIONS = {
    "softmax": Operation(("x",)),
    "masked_softmax": Operation(("x", "mask", "scale")),
    "rmsnorm": Operation(("x", "w")),
    "layernorm": Operation(("x", "w", "b")),
    "add_rmsnorm": Operation(("x", "res", "w")),
    "residual_rmsnorm": Operation(("x", "res", "w", "eps")),
    "matmul": Operation(("a", "b"), (("BM", 16), ("BN", 24))),
    "attention": Operation(("q", "k", "v"), (("BQ", 4),)),
    "mlp_up": Operation(
        ("x", "res", "w", "eps", "gq", "gs", "gb", "uq", "us", "ub"), (("BN", 10),)
    ),
    "mlp_down": Operation(("act", "x", "res", "dq", "ds", "db"), (("BN", 10),)),
}


def texts() -> Iterator[Text]:
    """A text an operation, with an instance a type."""
    files = third_party.CARMEN.read("carmen/golden/")
    for name, operation in OPERATIONS.items():
        header = files.get(f"{name}.header.metal", "")
        yield Text("carmen", name, _kernel(name, operation, header, files[f"{name}.metal"]))


def _kernel(name: str, operation: Operation, header: str, body: str) -> str:
    parameters = []
    for one in operation.inputs:
        parameters.append(f"const device {_ELEMENTS.get(one, 'T')}* {one}")
        if re.search(rf"\b{one}_shape\b", body):
            parameters.append(f"const constant int* {one}_shape")
    parameters.append("device T* out")
    parameters = [f"{one} [[buffer({i})]]" for i, one in enumerate(parameters)]
    parameters += [
        f"{type_name} {one} [[{one}]]" for one, type_name in _ATTRIBUTES.items() if one in body
    ]
    sizes = (("TG", TG), *operation.sizes)
    template = ", ".join(["typename T", *(f"int {size}" for size, _ in sizes)])
    arguments = ", ".join(str(value) for _, value in sizes)
    instances = "".join(
        f'template [[host_name("{name}_{t}")]] [[kernel]] '
        f"decltype({name}_<{t}, {arguments}>) {name}_<{t}, {arguments}>;\n"
        for t in TYPES
    )
    return (
        "#include <metal_stdlib>\n#include <metal_simdgroup>\nusing namespace metal;\n"
        f"{header}\ntemplate <{template}>\n[[kernel]] void {name}_({', '.join(parameters)}) {{\n"
        f"{body}\n}}\n{instances}"
    )

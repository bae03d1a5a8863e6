"""What an archive says of its pipelines: written here, read by cpp/archive.cpp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attnproto import _core

if TYPE_CHECKING:
    from .device import Device
    from .library import Constants, Library


def line(described: Mapping[str, Any], c_bytes: int) -> list[str]:
    """Fields of a pipeline, as cpp/archive.cpp reads them."""
    names = (",".join(described[which]) for which in ("linked", "private"))
    values = (f"{key}={_written(value)}" for key, value in described["constants"].items())
    known = ["pipeline", described["function"], described["text"], str(c_bytes)]
    return [*known, *names, *values]


def pipeline(read: _core.ArchivedPipeline) -> dict[str, Any]:
    """What ``line`` was made from, and the size of the code for C."""
    return {
        "function": read.function,
        "constants": {key: _value(text) for key, text in read.constants},
        "text": read.text,
        "linked": read.linked.split(",") if read.linked else [],
        "private": read.privately.split(",") if read.privately else [],
        "c_bytes": read.code_bytes,
    }


def _written(value: Any) -> str:
    """A number, or a vector's elements parted by commas, with one behind the last."""
    if isinstance(value, list):
        return "".join(f"{_written(one)}," for one in value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _value(text: str) -> Any:
    if text.endswith(","):
        return [_value(one) for one in text[:-1].split(",")]
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.lstrip("-").isdigit() else float(text)


def by_name(device: Device, library: Library, constants: Constants) -> dict[str, Any]:
    """Constants by the names that the text gives them, where the text can be asked."""
    from .library import plain

    given = {key: plain(value) for key, value in constants.items()}
    if device.kind == "metal":
        return {str(key): value for key, value in given.items()}
    from attnproto.compiler.frontend.program import library_head

    from . import export

    constants_given = [_core.Constant(key, value) for key, value in given.items()]
    # A linked library may declare what the text does not.
    head = library_head(library.text, export.target_of(device))
    named = head.values(constants_given, strict=False)
    return named | {k: v for k, v in given.items() if isinstance(k, str)}


def code_for_c(text: str, described: _core.PipelineDescriptor, device: Device) -> bytes:
    """The kernel for libattnproto; nothing where it compiles for itself or binds no tables.

    Raises:
        KernelCompileError: it cannot be linked.
        DeviceUnavailable: there is no linker.
    """
    if device.kind == "metal" or described.linked_functions:
        return b""

    from . import export

    return export.code(text, described, device)

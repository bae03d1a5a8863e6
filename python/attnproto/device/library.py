"""Libraries of kernels, the pipelines made from them, and how functions are put together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnproto.compiler.interface import Value
from attnproto.errors import KernelCompileError, check_text

if TYPE_CHECKING:
    from attnproto import _core

# MSL 3.1, 5.8.1.
_LAST_CONSTANT = 65535
Constants = Mapping["int | str", Value]


class FunctionTable:
    """Visible functions of one pipeline, called by their place; bound like a buffer."""

    def __init__(self, core: _core.FunctionTable, names: tuple[str, ...]):
        self._core = core
        self.names = names

    def __len__(self) -> int:
        return len(self.names)


class Pipeline:
    """A kernel with its function constants fixed, compiled for one device."""

    def __init__(self, core: _core.Pipeline, name: str):
        self._core = core
        self.name = name

    @property
    def static_threadgroup_bytes(self) -> int:
        """Threadgroup memory that the kernel declares itself, in bytes."""
        return self._core.info.static_threadgroup_bytes

    @property
    def max_threads(self) -> int:
        """Most threads a threadgroup may have."""
        return self._core.info.max_threads

    @property
    def simd_width(self) -> int:
        """Threads in a simdgroup."""
        return self._core.info.simd_width

    @property
    def compile_us(self) -> float:
        """Time until the pipeline was ready, in microseconds; see ``cached``."""
        return self._core.info.compile_us

    @property
    def function_us(self) -> float:
        """The part of ``compile_us`` in which constants were fixed and functions linked."""
        return self._core.info.function_us

    @property
    def cached(self) -> bool:
        """Whether it came from a cache and no compiler ran."""
        return self._core.info.cached

    @property
    def engine(self) -> str:
        """What runs it, where the device has several: ``lockstep`` or ``fibers``.

        A dispatch whose threadgroups are no multiple of 32 threads along their first axis,
        at the grid's edge too, runs on fibers in either case.
        """
        return self._core.info.engine

    @property
    def engine_reason(self) -> str:
        """Why it does not run in lockstep; empty if it does, or was not asked to."""
        return self._core.info.engine_reason

    def function_table(self, names: Sequence[str]) -> FunctionTable:
        """Functions that the kernel calls through a ``visible_function_table`` argument.

        Args:
            names: of visible functions, in the order of their places; each was given to
                ``Library.pipeline`` as ``linked``.

        Returns:
            What ``buffers`` takes at the argument's index, for this pipeline only.

        Raises:
            KernelCompileError: no names, or one that is not linked to this pipeline.
        """
        names = _names(names, "a function table", self.name)
        return FunctionTable(self._core.function_table(names), tuple(names))

    def __repr__(self) -> str:
        return f"Pipeline({self.name!r}, static_threadgroup_bytes={self.static_threadgroup_bytes})"


@dataclass(frozen=True)
class Input:
    """An argument of a stitched function, counted from 0."""

    index: int


@dataclass(frozen=True, eq=False)
class Call:
    """A call inside a stitched function.

    The same object in two places is one call whose result is used twice.

    Examples:
        >>> once = Call("twice", Input(0))
        >>> graph = Call("add", once, once)
    """

    function: str
    arguments: tuple[Input | Call, ...]

    def __init__(self, function: str, *arguments: Input | Call):
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "arguments", arguments)


class Library:
    """The kernels and visible functions of one MSL text."""

    def __init__(self, core: _core.Library):
        self._core = core

    @property
    def text(self) -> str:
        """The text it was compiled from; empty where the device does not keep it."""
        return self._core.text

    def functions(self) -> list[str]:
        """Names of the kernels and visible functions."""
        return self._core.functions()

    def holder(self, name: str) -> Library:
        """The library that a pipeline of this name is made from, which has the kernel's text."""
        return self

    def pipeline(
        self,
        name: str,
        constants: Constants | None = None,
        *,
        linked: Sequence[str] = (),
        private: Mapping[str, Library] | None = None,
        archive: str | os.PathLike[str] | None = None,
        fail_on_miss: bool = False,
    ) -> Pipeline:
        """A kernel with its function constants fixed and its functions linked.

        Args:
            name: the kernel's, or its instance's ``host_name``.
            constants: values by index or by name, of a vector a list or an array of its elements;
                linked functions read them too.
            linked: visible functions of this text that a function table may hold.
            private: functions that this text only declares, by name, with the library
                that has each.
            archive: file of compiled pipelines (see :mod:`attnproto.archive`); what it
                does not hold is compiled.
            fail_on_miss: raise instead of compiling what the archive does not hold.

        Raises:
            KernelCompileError: no such kernel, constant or function; its module in a metallib is
                damaged, or has something that this device does not lift; a constant that the
                kernel reads has no value, or the value does not fit its type; a function
                that it calls is not linked, or has other types; the archive is not
                readable, or holds nothing and ``fail_on_miss`` is set.
        """
        described = describe(name, constants, linked, private, archive, fail_on_miss)
        return Pipeline(self.holder(name)._core.pipeline(described), name)

    def stitch(self, functions: Mapping[str, Call], *, inline: bool = True) -> Library:
        """Compose functions of this text's ``[[stitchable]]`` ones, without source.

        Args:
            functions: name and graph of each; a graph is the call whose result is
                returned.
            inline: whether callers inline them.

        Returns:
            A library of the composed functions, for ``private``.

        Raises:
            KernelCompileError: a call names no visible function, or passes a value of
                another type than the function takes, or skips an input.

        Examples:
            >>> text = "[[stitchable]] float twice(float x) { return 2 * x; }"
            >>> library = open_device("cpu").library(text)
            >>> library.stitch({"fourfold": Call("twice", Call("twice", Input(0)))}).functions()
            ['fourfold']
        """
        from attnproto import _core

        if not isinstance(functions, Mapping):
            raise KernelCompileError(
                f"[stitch] found {functions!r}, needs graphs by name; pass {{name: Call(...)}}"
            )
        graphs = [
            _core.StitchedFunction(check_text(name, "a name", "stitch"), _flat(graph), inline)
            for name, graph in functions.items()
        ]
        return Library(self._core.stitch(graphs))


def describe(
    name: str,
    constants: Constants | None = None,
    linked: Sequence[str] = (),
    private: Mapping[str, Library] | None = None,
    archive: str | os.PathLike[str] | None = None,
    fail_on_miss: bool = False,
    *,
    distinct_buffers: bool = False,
) -> _core.PipelineDescriptor:
    """What a device is asked for; arguments as in :meth:`Library.pipeline`.

    With ``distinct_buffers`` it is what a device asks its compiler for, before it knows whether
    dispatches bind buffers that overlap.
    """
    from attnproto import _core

    if not isinstance(name, str):
        raise KernelCompileError(
            f"[pipeline] found {name!r} as the kernel's name, needs a string; pass one of "
            "library.functions()"
        )
    check_text(name, "the kernel's name", "pipeline")
    constants = {} if constants is None else constants
    if not isinstance(constants, Mapping):
        raise KernelCompileError(
            f"[pipeline {name}] found constants={constants!r}, needs values by index or by name; "
            'pass {0: 64, "causal": True}'
        )
    given = [_constant(name, key, value) for key, value in constants.items()]
    described = _core.PipelineDescriptor(
        name, given, _names(linked, "linked functions", name), _path(archive, name)
    )
    private = {} if private is None else private
    if not isinstance(private, Mapping):
        raise KernelCompileError(
            f"[pipeline {name}] found private={private!r}, needs libraries by a function's name"
        )
    for function, library in private.items():
        if not isinstance(library, Library):
            raise KernelCompileError(
                f"[pipeline {name}] found {library!r} for {function!r}, needs a library that has "
                "it; pass device.library(text)"
            )
        described.link(library._core, check_text(function, "a function's name", "pipeline"))
    if fail_on_miss:
        described.fail_on_archive_miss()
    described.distinct_buffers = distinct_buffers
    return described


def _names(names: object, what: str, kernel: str) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise KernelCompileError(
            f"[pipeline {kernel}] found {names!r} for {what}, needs a list of names"
        )
    return [check_text(name, f"one of {what}", f"pipeline {kernel}") for name in names]


def _path(archive: object, kernel: str) -> str:
    if archive is None:
        return ""
    if not isinstance(archive, (str, os.PathLike)):
        raise KernelCompileError(
            f"[pipeline {kernel}] found archive={archive!r}, needs a file; pass what archive.load "
            "returns"
        )
    return check_text(os.fspath(archive), "the archive's path", f"pipeline {kernel}")


def _flat(graph: Call) -> list[_core.StitchedCall]:
    """The calls of a graph, each after those it reads."""
    from attnproto import _core

    places: dict[int, int] = {}
    calls: list[_core.StitchedCall] = []

    def add(call: Call) -> int:
        if id(call) not in places:
            check_text(call.function, "a function's name", "stitch")
            for argument in call.arguments:
                if not isinstance(argument, (Call, Input)):
                    raise KernelCompileError(
                        f"[stitch] found {argument!r} in a call of {call.function}, needs a Call "
                        "or an Input"
                    )
            arguments = [
                (_core.From.CALL, add(a)) if isinstance(a, Call) else (_core.From.INPUT, a.index)
                for a in call.arguments
            ]
            calls.append(_core.StitchedCall(call.function, arguments))
            places[id(call)] = len(calls) - 1
        return places[id(call)]

    if not isinstance(graph, Call):
        raise KernelCompileError(f"[stitch] found {graph!r}, needs a Call; pass Call(name, ...)")
    add(graph)
    return calls


def _constant(kernel: str, key: object, value: object) -> _core.Constant:
    from attnproto import _core

    key, value = plain(key), plain(value)
    if not isinstance(key, str) and (type(key) is not int or not 0 <= key <= _LAST_CONSTANT):
        raise KernelCompileError(
            f"[pipeline {kernel}] found {key!r} as a function constant, needs its name or its "
            f"index from 0 to {_LAST_CONSTANT}"
        )
    if isinstance(key, str):
        check_text(key, "a function constant's name", f"pipeline {kernel}")
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(isinstance(one, (bool, int, float)) for one in numbers):
        raise KernelCompileError(
            f"[pipeline {kernel}] found {value!r} for function constant {key!r}, needs a bool or "
            "a number, or a list of a vector's elements"
        )
    large = next((one for one in numbers if not -(2**63) <= one < 2**64), None)
    if isinstance(large, int):
        raise KernelCompileError(
            f"[pipeline {kernel}] found {large} for function constant {key!r}, needs a number of "
            "64 bits; pass a smaller one"
        )
    return _core.Constant(key, value)


def plain(value: object) -> object:
    """A value of numpy's, or a sequence of such, as Python's own numbers and lists."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value

"""How a front end answers a device: from an archive, from the cache, or by compiling.

The protocol is the same for every target and written here once. A target adds what it makes of a
kernel (``build``), how that becomes an image, and what an archive keeps of it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from attnproto import _core
from attnproto.compiler import object_cache
from attnproto.compiler.codegen import object_archive
from attnproto.compiler.frontend.program import library_head, ship_heads
from attnproto.compiler.frontend.request import Request, request_of
from attnproto.compiler.frontend.text_key import text_key
from attnproto.compiler.pass_manager import Pass, PassManager
from attnproto.compiler.target import Target
from attnproto.errors import KernelCompileError

# Of compilation, before it is said.
SLOW_S = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Archive:
    """Where to look for code first, by the file's path, and whether it must be there."""

    path: str = ""
    required: bool = False


@dataclass(frozen=True)
class Code:
    """What a request led to.

    Attributes:
        archive: where it was looked for first.
        content: what the cache and archives keep; None where the process holds it loaded.
        function_us: time that went into constants and linking.
        cached: whether nothing had to be compiled.
        begin: when it was asked for, of ``time.perf_counter``.
    """

    archive: Archive
    content: bytes | None
    function_us: float
    cached: bool
    begin: float

    def spent(self) -> tuple[float, float, bool]:
        """The last fields of an image: microseconds until now, of constants, and ``cached``."""
        return (time.perf_counter() - self.begin) * 1e6, self.function_us, self.cached


@contextlib.contextmanager
def _said_when_slow(function: str) -> Iterator[None]:
    """Log a kernel's name where its compilation takes longer than a user waits in silence."""

    def say() -> None:
        _log.warning(
            "[compile %s] found a kernel that has taken %g s so far, needs more; fewer or less "
            "unrolled loops compile faster, and the cache keeps the code",
            function,
            SLOW_S,
        )

    timer = threading.Timer(SLOW_S, say)
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # the system starts no thread; then nothing is said
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Driver(_core.FrontEnd):
    """What the front ends of all targets have in common.

    Args:
        target: what the code is for.
        options: a frozen record of what else decides the code.
    """

    device: ClassVar[str]  # names it in errors
    lists: ClassVar[Sequence[Sequence[Pass]]]  # a kernel's way goes through some of them

    def __init__(self, target: Target, options: Any):
        super().__init__()
        self.target, self.options = target, options

    # A target's own part.

    def build(self, request: Request, passes: PassManager) -> bytes:
        """Compile; returns what the cache and archives keep."""
        raise NotImplementedError

    def image(self, request: Request, code: Code) -> _core.KernelImage:
        """What the device is given."""
        raise NotImplementedError

    def holds(self, key: str) -> bool:
        """Whether the process has it loaded already."""
        return False

    def stored(self, contents: list[tuple[Request, bytes]]) -> dict[str, bytes]:
        """What an archive keeps of kernels and their code, by key."""
        return {request.key: content for request, content in contents}

    @classmethod
    def pass_names(cls) -> list[str]:
        """Names of all passes there are for the target, in their order."""
        return [one.name for passes in cls.lists for one in passes]

    # The protocol.

    def functions(self, text: str) -> list[str]:
        """Names of what a text holds; raises KernelCompileError naming the line."""
        head = library_head(text, self.target)
        return [*head.instances, *head.visible]

    def request(self, text: str, descriptor: _core.PipelineDescriptor) -> Request:
        """What a descriptor asks for; raises as ``request_of``."""
        return request_of(text, descriptor, self.target, self.options)

    def compile(self, text: str, descriptor: _core.PipelineDescriptor) -> _core.KernelImage:
        """One kernel with its constants fixed."""
        begin = time.perf_counter()
        archive = Archive(descriptor.archive, descriptor.fails_on_archive_miss)
        if archive.path:
            ship_heads(object_archive.read(archive.path).heads)
        return self.answer(self.request(text, descriptor), archive, begin)

    def answer(self, request: Request, archive: Archive, begin: float) -> _core.KernelImage:
        """The image of a request, from the first place that has its code."""
        content, passes = None, PassManager()
        if archive.path:
            content = object_archive.read(archive.path).objects.get(request.key)
            if content is None and archive.required:
                raise KernelCompileError(
                    f"[{self.device}.archive] found no {request.function} with these constants in "
                    f"{archive.path}, needs it there; add it and build the archive again"
                )
        if content is None and not self.holds(request.key):
            content = self.make(request, passes)
        function_us = passes.seconds.get("specialize", 0.0) * 1e6
        return self.image(request, Code(archive, content, function_us, not passes.seconds, begin))

    def make(self, request: Request, passes: PassManager | None = None) -> bytes:
        """A kernel's code from the cache, else compiled, once for all processes that want it.

        Args:
            request: what is asked for.
            passes: run where it is compiled; none of them has run where the cache had it.
        """
        content = object_cache.read(request.key)
        if content is not None:
            return content
        with object_cache.making(request.key) as waited:
            content = object_cache.read(request.key) if waited else None
            if content is None:
                with _said_when_slow(request.function):
                    content = self.build(request, passes or PassManager())
                object_cache.write(request.key, content)
        return content

    def save_archive(
        self, texts: list[str], descriptors: list[_core.PipelineDescriptor], path: str
    ) -> None:
        """Write pipelines to a file, one of each text.

        Raises:
            KernelCompileError: there is nothing to write, no place for it, or it is refused.
        """
        if not texts:
            raise KernelCompileError(
                f"[{self.device}.archive] found no pipeline to store, needs at least one; add it "
                "first"
            )
        heads, contents = {}, []
        for text, descriptor in zip(texts, descriptors, strict=True):
            request = self.request(text, descriptor)
            contents.append((request, self.make(request)))
            for one in request.texts:
                heads[text_key(one, self.target)] = library_head(one, self.target).pack()
        object_archive.write(path, heads, self.stored(contents))

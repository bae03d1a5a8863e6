"""The errors attnproto raises on purpose.

Every message reads ``[where] found X, needs Y; cure``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class AttnprotoError(Exception):
    """Base of every error below. What a message quotes can be printed, lone surrogates too."""

    def __init__(self, *arguments: object):
        super().__init__(*map(_printable, arguments))


def _printable(argument: object) -> object:
    if not isinstance(argument, str) or argument.isascii():
        return argument
    return argument.encode("utf-8", "backslashreplace").decode()


class UnsupportedProblem(AttnprotoError, ValueError):
    """The inputs or the geometry are not something this kernel can compute."""


class KernelCompileError(AttnprotoError):
    """The kernel text, its name or its function constants were refused."""


class InternalError(KernelCompileError):
    """The compiler failed on its own bug; the message names the pass and the kernel."""


class DispatchError(AttnprotoError):
    """A dispatch broke a rule of the device, or the kernel faulted while running."""


@dataclass(frozen=True)
class Party:
    """One thread's part in what a validating device found.

    Attributes:
        action: what it does, such as ``reads`` or ``waits in``.
        line: line of the kernel text, 0 where it is not known.
        source: the text of that line; of a kernel without text, what it accesses there.
        callers: lines of the calls that lead to it, the innermost first.
        threadgroup: position in the grid.
        thread: index in the threadgroup.
        kernel: where it is not that of the error, but of another dispatch.
    """

    action: str
    line: int
    source: str
    callers: tuple[int, ...]
    threadgroup: tuple[int, int, int]
    thread: int
    kernel: str = ""

    @property
    def simdgroup(self) -> int:
        """Index of its simdgroup in the threadgroup."""
        return self.thread // 32

    @property
    def lane(self) -> int:
        """Index in its simdgroup."""
        return self.thread % 32

    def __str__(self) -> str:
        place = f" line {self.line}" if self.line else ""
        place += f" `{self.source}`" if self.source else ""
        if self.callers:
            place += f" (called from line {', '.join(map(str, self.callers))})"
        return (
            f"thread {self.thread} (simdgroup {self.simdgroup}, lane {self.lane}) of threadgroup "
            f"{self.threadgroup}{' of ' * bool(self.kernel)}{self.kernel} "
            f"{self.action}{' in' * self._in}{place}"
        )

    @property
    def _in(self) -> bool:
        known = self.line > 0 or self.source
        return bool(known) and not self.action.endswith((" in", " of"))


def _party(
    action: str,
    line: int,
    source: str,
    threadgroup: tuple[int, int, int],
    thread: int,
    kernel: str = "",
) -> Party:
    """A party as the engine knows it: callers stand below the line's text."""
    shown, *callers = source.split("\n")
    return Party(action, line, shown, tuple(map(int, callers)), threadgroup, thread, kernel)


class ValidationError(DispatchError):
    """A kernel did what a validating device watches for; its outputs are not to be used.

    Attributes:
        kernel: its name.
        kind: ``race``, ``dispatch-race``, ``out-of-bounds``, ``uninitialised``, ``read-only``,
            ``misaligned``, ``alias``, ``divergent-barrier``, ``divergent-collective``,
            ``division``, ``null-pointer``, ``foreign-pointer``, ``local-array``, ``recursion``,
            ``trap`` or ``nan``.
        parties: the threads that took part, the one that was stopped first.
        memory: what was accessed, in words; empty where it was no access.
        offset: where in it, in bytes.
        memory_bytes: how much it holds.
        nbytes: size of the access.
    """

    _NEEDS: ClassVar[dict[str, str]] = {
        "race": "a barrier between them that orders this memory for both threads, or atomics",
        "dispatch-race": "barrier_before=True for the later dispatch, or a submission in order",
        "out-of-bounds": "an access inside it; guard the index",
        "uninitialised": "a write, ordered by a barrier, before the read",
        "read-only": "a writable array bound to it",
        "misaligned": "an address that is a multiple of the type's alignment",
        "alias": "arguments that do not overlap where one of them is written; bind copies",
        "divergent-barrier": "every thread to reach the same barrier",
        "divergent-collective": "every lane it concerns to take part",
        "division": "a divisor that is not zero and a quotient that its type holds",
        "null-pointer": "an address inside what is bound",
        "foreign-pointer": "an address inside what is bound",
        "local-array": "an index inside the array; guard it",
        "recursion": "calls that fit a thread's stack; use a loop",
        "trap": "a kernel that does not get there",
        "nan": "operands with a defined result",
    }

    def __init__(
        self,
        kernel: str,
        kind: str,
        parties: Sequence[tuple],
        memory: str = "",
        offset: int = 0,
        memory_bytes: int = 0,
        nbytes: int = 0,
    ):
        self.kernel, self.kind, self.memory = kernel, kind, memory
        self.offset, self.memory_bytes, self.nbytes = offset, memory_bytes, nbytes
        self.parties = tuple(_party(*party) for party in parties)
        self._given = (kernel, kind, list(parties), memory, offset, memory_bytes, nbytes)
        where = f" at byte {offset} of {memory} ({memory_bytes} bytes)" if memory else ""
        what = f"{kind} access" if kind in ("read-only", "misaligned", "out-of-bounds") else kind
        super().__init__(
            f"[validate {kernel}] found {what}{where}: "
            f"{'; '.join(str(party) for party in self.parties)}; needs {self._NEEDS[kind]}"
        )

    def __reduce__(self) -> tuple:
        """Made again from what it was made from, where it goes to another process."""
        return type(self), self._given


class DeviceUnavailable(AttnprotoError):
    """The device asked for is not on this machine."""


class GpuFault(DispatchError):
    """Kernels that were submitted did not complete; the next dispatch may.

    Attributes:
        code: Metal's command buffer error code.
        kernels: the kernel at fault where Metal names it, else all that were submitted.
    """

    code: int = 0
    kernels: str = ""


class GpuTimeout(GpuFault):
    """The GPU's watchdog ended a kernel that took too long."""


class GpuPageFault(GpuFault):
    """A kernel touched memory outside its buffers."""


class GpuOutOfMemory(GpuFault):
    """There was no memory for what the kernels use."""


class DeviceLost(GpuFault, DeviceUnavailable):
    """The GPU went away while kernels ran; only a new process can open it again."""


# Which class a command buffer error code has; every other is a plain GpuFault.
FAULTS = {2: GpuTimeout, 3: GpuPageFault, 8: GpuOutOfMemory, 11: DeviceLost}


def check_text(value: object, what: str, where: str) -> str:
    """Return a value that is a text of characters.

    Half of a surrogate pair, as Python has it for a byte of a name that is not UTF-8, is none.

    Raises:
        KernelCompileError: it is something else.
    """
    if not isinstance(value, str):
        raise KernelCompileError(
            f"[{where}] found {type(value).__name__} as {what}, needs a string"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise KernelCompileError(
            f"[{where}] found {value[error.start]!a} in {what}, needs characters that UTF-8 has; "
            "decode it by its own encoding"
        ) from None
    return value


class WrongResult(AttnprotoError):
    """A kernel's output missed its tolerance against the FP64 reference."""


class UnstableMeasurement(AttnprotoError):
    """A time varied too much to be reported."""


class ArchiveRefused(KernelCompileError):
    """An archive is damaged, or was built for another device, system or compiler."""

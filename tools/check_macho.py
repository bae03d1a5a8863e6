"""Check a cross-built macOS wheel: what a Mac would load, and which selectors it sends.

``python tools/check_macho.py WHEEL OBJECTS_DIR SELECTORS_FILE KERNEL``, the last an exported
kernel. Prints a line a check and fails unless all hold.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

import lief

_NM = "/usr/lib/llvm-19/bin/llvm-nm"
_SYSTEM = {
    "/System/Library/Frameworks/Metal.framework/Versions/A/Metal",
    "/System/Library/Frameworks/Foundation.framework/Versions/C/Foundation",
    "/System/Library/Frameworks/CoreFoundation.framework/Versions/A/CoreFoundation",
    "/System/Library/Frameworks/IOKit.framework/Versions/A/IOKit",
    "/usr/lib/libobjc.A.dylib",
    "/usr/lib/libc++.1.dylib",
    "/usr/lib/libSystem.B.dylib",
}
# Flat look-up: whatever has no library of its own, which only Python's symbols may be.
_FLAT_LOOKUP = -2
_ID_DYLIB = lief.MachO.LoadCommand.TYPE.ID_DYLIB
_SELECTOR = re.compile(r"Selector(?:L)?\d+s_k(\w+?)E$")


class Checks:
    """Prints each check and remembers whether all held."""

    def __init__(self) -> None:
        self.failed = 0
        self.total = 0

    def expect(self, name: str, holds: bool, detail: object = "") -> None:
        """Print one check."""
        self.total += 1
        self.failed += not holds
        print(("ok   " if holds else "FAIL ") + name, "" if holds else detail)


def _exports(binary: lief.MachO.Binary) -> list[str]:
    return sorted(str(symbol.name) for symbol in binary.exported_symbols)


def _flat(binary: lief.MachO.Binary) -> set[str]:
    """Names that are looked for in every library of the process."""
    bindings = [one for one in binary.bindings if one.has_symbol]
    return {str(one.symbol.name) for one in bindings if one.library_ordinal == _FLAT_LOOKUP}


def check_file(binary: lief.MachO.Binary, kind: str, checks: Checks) -> set[str]:
    """Check what all that a Mac loads have in common; returns the libraries it is linked to."""
    header = binary.header
    checks.expect("arm64", header.cpu_type == lief.MachO.Header.CPU_TYPE.ARM64)
    wanted = getattr(lief.MachO.Header.FILE_TYPE, kind)
    checks.expect(f"a {kind.lower()}", header.file_type == wanted, header.file_type)
    checks.expect("two-level namespace", "TWOLEVEL" in str(list(header.flags_list)))
    minimum = list(binary.build_version.minos)[:2]
    checks.expect("runs from macOS 14.0", minimum <= [14, 0], minimum)
    own = {binary.get(_ID_DYLIB).name} if binary.has(_ID_DYLIB) else set()
    libraries = {str(library.name) for library in binary.libraries} - own
    checks.expect("only system libraries", libraries <= _SYSTEM, libraries - _SYSTEM)
    return libraries


def check_contract(library: lief.MachO.Binary, runtime: set[str], checks: Checks) -> None:
    """Check libattnproto: the C ABI and what exported kernels call, and nothing else."""
    check_file(library, "DYLIB", checks)
    exported = set(_exports(library))
    header = pathlib.Path("cpp/c_api.h").read_text()
    declared = {"_" + name for name in re.findall(r"\b(attnproto_\w+)\(", header)}
    checks.expect("the C ABI's functions were found", len(declared) > 15, declared)
    checks.expect("exports the C ABI", declared <= exported, declared - exported)
    engine = {name for name in exported if name.startswith("_attn_")}
    checks.expect("exports the engine", runtime <= engine, runtime - engine)
    others = exported - declared - engine
    checks.expect("exports nothing else", not others, sorted(others)[:9])
    checks.expect("looks nothing up in the process", not _flat(library), _flat(library))


def check_kernel(kernel: lief.MachO.Binary, library: lief.MachO.Binary, checks: Checks) -> None:
    """Check an exported kernel: what it leaves open is what libattnproto exports."""
    check_file(kernel, "DYLIB", checks)
    checks.expect("exports its table", "_attnproto_exported" in _exports(kernel), _exports(kernel))
    wanted = _flat(kernel)
    checks.expect("calls the engine", bool(wanted), wanted)
    foreign = wanted - set(_exports(library))
    checks.expect("calls only what libattnproto exports", not foreign, foreign)


def check_binary(binary: lief.MachO.Binary, checks: Checks) -> None:
    """Check the extension's Mach-O."""
    libraries = check_file(binary, "BUNDLE", checks)
    linked = all(
        any(f"{name}.framework" in one for one in libraries) for name in ("Metal", "Foundation")
    )
    checks.expect("Metal and Foundation are linked", linked, libraries)
    exported = _exports(binary)
    checks.expect(
        "exports its PyInit and nothing else", exported == ["_PyInit__core"], exported[:9]
    )
    foreign = sorted(name for name in _flat(binary) if not name.startswith(("_Py", "__Py")))
    checks.expect("only Python's symbols are looked up at load", not foreign, foreign)
    bindings = [one for one in binary.bindings if one.has_symbol]
    from_metal = [one for one in bindings if one.has_library and "Metal.fr" in one.library.name]
    hard = sorted({str(one.symbol.name) for one in from_metal if not one.weak_import})
    functions = {"_MTLCreateSystemDefaultDevice", "_MTLCopyAllDevices"}
    functions |= {"_MTLCopyAllDevicesWithObserver", "_MTLRemoveDeviceObserver"}
    checks.expect("Metal's constants are weak imports", set(hard) <= functions, hard)


def selectors_of(objects: pathlib.Path) -> set[str]:
    """Return the selectors that the device's own objects send through metal-cpp."""
    selectors = set()
    for path in objects.rglob("*.o"):
        if path.parent.name != "metal" or path.name.startswith("metal_cpp."):
            continue
        listed = subprocess.run(
            [_NM, "--undefined-only", "--format=just-symbols", path],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        selectors |= {match.group(1) for match in map(_SELECTOR.search, listed.split()) if match}
    return selectors


def known_selectors(path: pathlib.Path) -> set[str]:
    """Read the hand-checked list: accessor, the macOS it came with, perhaps ``guarded``."""
    known = set()
    for line in path.read_text().splitlines():
        name, *since = line.split("#")[0].split() or [""]
        if name and (float(since[0]) <= 14.0 or since[1:] == ["guarded"]):
            known.add(name)
    return known


def main() -> None:
    """Run every check."""
    wheel, objects, selectors, kernel = map(pathlib.Path, sys.argv[1:5])
    checks = Checks()
    checks.expect("wheel tag", wheel.name.endswith("-macosx_14_0_arm64.whl"), wheel.name)
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        extension, library = (
            lief.MachO.parse(archive.extract(name, folder))[0]
            for ending in (r"/_core\.\S+so", r"/libattnproto\.dylib")
            for name in archive.namelist()
            if re.search(ending + "$", name)
        )
        check_binary(extension, checks)
        names = re.findall(
            r"ATTN_SYMBOL\((attn_\w+)\)", pathlib.Path("cpp/cpu/runtime.cpp").read_text()
        )
        check_contract(library, {"_" + name for name in names}, checks)
        check_kernel(lief.MachO.parse(str(kernel))[0], library, checks)
        headers = [name for name in archive.namelist() if "metal_cpp" in name.lower()]
        checks.expect("nothing of Apple's is inside", not headers, headers)
    sent, known = selectors_of(objects), known_selectors(selectors)
    checks.expect("selectors were found", len(sent) > 50, len(sent))
    checks.expect("every selector exists on macOS 14", sent <= known, sorted(sent - known))
    checks.expect("the list holds no selector we do not send", known <= sent, sorted(known - sent))
    right = checks.total - checks.failed
    print(f"{right} of {checks.total} checks hold, {len(sent)} selectors sent")
    raise SystemExit(checks.failed != 0)


if __name__ == "__main__":
    main()

"""Put together, on Linux, what a strict compile and link for macOS arm64 needs.

Headers and libSystem come from ziglang, the symbols of Metal, Foundation and libobjc
from the bind table of a library that Apple's linker made (libmlx.dylib of the pinned
wheel): evidence of who exports what. libc++'s names follow from its ABI, so Debian's
copy serves. A wheel linked against this proves types, symbols and tags; it is never
shipped, and what runs is proven elsewhere.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import subprocess

import lief
import ziglang

_FRAMEWORKS = "System/Library/Frameworks"
_CORE_FOUNDATION = "/System/Library/Frameworks/CoreFoundation.framework/Versions/A/CoreFoundation"

_IOKIT = "/System/Library/Frameworks/IOKit.framework/Versions/A/IOKit"
_POWER_SOURCES = {"_IOPSCopyPowerSourcesInfo", "_IOPSGetProvidingPowerSourceType"}

_CORE_FOUNDATION_H = """#pragma once
#include <TargetConditionals.h>
#include <sys/types.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <Availability.h>
#include <MacTypes.h>
#include <AssertMacros.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef double CFTimeInterval;
typedef const struct __CFString* CFStringRef;
CFStringRef __CFStringMakeConstantString(const char* text);
#ifdef __cplusplus
}
#endif
"""

_PYCONFIG_H = """#pragma once
#include_next <pyconfig.h>
#undef SIZEOF_LONG_DOUBLE
#define SIZEOF_LONG_DOUBLE 8
#undef ALIGNOF_MAX_ALIGN_T
#define ALIGNOF_MAX_ALIGN_T 8
#undef HAVE_GETRANDOM
#undef HAVE_PRCTL
#undef PLATLIBDIR
#undef _FILE_OFFSET_BITS
#undef _LARGEFILE_SOURCE
#undef _GNU_SOURCE
#define _DARWIN_C_SOURCE 1
"""


def _tbd(install_name: str, symbols: set[str], reexports: tuple[str, ...] = ()) -> str:
    targets = "[ arm64-macos, arm64e-macos ]"
    lines = ["--- !tapi-tbd", "tbd-version: 4", f"targets: {targets}"]
    lines += [f"install-name: '{install_name}'", "current-version: 1"]
    if reexports:
        names = ", ".join(f"'{name}'" for name in reexports)
        lines += ["reexported-libraries:", f"  - targets: {targets}", f"    libraries: [ {names} ]"]
    names = ", ".join(f"'{symbol}'" for symbol in sorted(symbols))
    lines += ["exports:", f"  - targets: {targets}", f"    symbols: [ {names} ]", "...", ""]
    return "\n".join(lines)


def _bound_symbols(library: pathlib.Path) -> dict[str, set[str]]:
    """Return the symbols a Mach-O imports, by the library it imports them from."""
    symbols: dict[str, set[str]] = {}
    for binding in lief.MachO.parse(str(library))[0].bindings:
        if binding.has_library and binding.has_symbol:
            symbols.setdefault(binding.library.name, set()).add(str(binding.symbol.name))
    return symbols


def _write(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _write_frameworks(sdk: pathlib.Path, evidence: pathlib.Path) -> None:
    for name, symbols in _bound_symbols(evidence).items():
        stem = pathlib.PurePath(name).name
        if stem in ("Metal", "Foundation"):
            reexports = (
                ("/usr/lib/libobjc.A.dylib", _CORE_FOUNDATION) if stem == "Foundation" else ()
            )
            path = sdk / _FRAMEWORKS / f"{stem}.framework" / f"{stem}.tbd"
            _write(path, _tbd(name, symbols, reexports))
        elif stem == "libobjc.A.dylib":
            # What MLX does not use; documented in <objc/objc-exception.h>.
            symbols = symbols | {"_objc_setExceptionPreprocessor"}
            _write(sdk / "usr/lib/libobjc.A.tbd", _tbd(name, symbols))
            _write(sdk / "usr/lib/libobjc.tbd", _tbd(name, symbols))
    _write(sdk / _FRAMEWORKS / "IOKit.framework/IOKit.tbd", _tbd(_IOKIT, _POWER_SOURCES))
    framework = sdk / _FRAMEWORKS / "CoreFoundation.framework"
    stub = _tbd(_CORE_FOUNDATION, {"___CFConstantStringClassReference"})
    _write(framework / "CoreFoundation.tbd", stub)
    # The re-exporting stub is followed by its install name.
    _write(framework / "Versions/A/CoreFoundation.tbd", stub)
    _write(framework / "Headers/CoreFoundation.h", _CORE_FOUNDATION_H)
    _write(
        sdk / _FRAMEWORKS / "IOSurface.framework/Headers/IOSurfaceRef.h",
        "#pragma once\ntypedef struct __IOSurface* IOSurfaceRef;\n",
    )


def _write_libcxx(sdk: pathlib.Path, llvm: pathlib.Path) -> None:
    symbols: set[str] = set()
    for name in ("libc++.so.1", "libc++abi.so.1"):
        command = [llvm / "bin/llvm-nm", "-D", "--defined-only", "--format=just-symbols"]
        listed = subprocess.run(
            [*command, llvm / "lib" / name], check=True, capture_output=True, text=True
        ).stdout
        symbols |= {"_" + line.split("@")[0] for line in listed.split()}
    _write(sdk / "usr/lib/libc++.tbd", _tbd("/usr/lib/libc++.1.dylib", symbols))


def assemble(sdk: pathlib.Path, evidence: pathlib.Path, llvm: pathlib.Path) -> None:
    """Write the SDK's folder anew."""
    shutil.rmtree(sdk, ignore_errors=True)
    zig = pathlib.Path(ziglang.__file__).parent / "lib/libc"
    shutil.copytree(zig / "include/any-darwin-any", sdk / "usr/include")
    # lld 19 does not know the newest architecture's name.
    system = (zig / "darwin/libSystem.tbd").read_text().replace("arm64e.x1-", "arm64-")
    _write(sdk / "usr/lib/libSystem.tbd", system)
    _write_frameworks(sdk, evidence)
    _write_libcxx(sdk, llvm)
    _write(sdk / "python/pyconfig.h", _PYCONFIG_H)
    version = {"Version": "15.0", "CanonicalName": "macosx15.0", "MinimalDisplayName": "15.0"}
    version |= {"MaximumDeploymentTarget": "15.0.99", "VersionMap": {}}
    version |= {"DefaultProperties": {"PLATFORM_NAME": "macosx"}}
    version |= {
        "SupportedTargets": {
            "macosx": {
                "Archs": ["arm64"],
                "LLVMTargetTripleEnvironment": "",
                "LLVMTargetTripleSys": "macosx",
                "LLVMTargetTripleVendor": "apple",
                "DefaultDeploymentTarget": "15.0",
                "MinimumDeploymentTarget": "10.13",
                "MaximumDeploymentTarget": "15.0.99",
                "ValidDeploymentTargets": ["14.0", "15.0"],
            }
        }
    }
    _write(sdk / "SDKSettings.json", json.dumps(version))


def main() -> None:
    """Read where things are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=pathlib.Path, required=True)
    parser.add_argument("--evidence", type=pathlib.Path, required=True, help="libmlx.dylib")
    parser.add_argument("--llvm", type=pathlib.Path, default=pathlib.Path("/usr/lib/llvm-19"))
    arguments = parser.parse_args()
    assemble(arguments.into, arguments.evidence, arguments.llvm)


if __name__ == "__main__":
    main()

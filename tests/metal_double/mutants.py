"""Break the Metal device in one place at a time; the tests must notice each time.

Run after a build with the double: ``python tests/metal_double/mutants.py BUILD_DIR``.
Prints a line a fault and ``caught/injected`` at the end.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = (ROOT / "cpp" / "metal", ROOT / "cpp")
TIMEOUT_S = 60

# What is broken: file, text, replacement.
FAULTS = {
    "leak: a function of +1 is retained again": (
        "library.cpp",
        "auto function = NS::TransferPtr(library_->newFunction(ns(name)));",
        "auto function = NS::RetainPtr(library_->newFunction(ns(name)));",
    ),
    "leak: every alloc-init object is retained": (
        "objc.h",
        "return NS::TransferPtr(T::alloc()->init());",
        "return NS::RetainPtr(T::alloc()->init());",
    ),
    "leak: the list of devices": (
        "device.cpp",
        "auto all = NS::TransferPtr(MTL::CopyAllDevices());",
        "auto all = NS::RetainPtr(MTL::CopyAllDevices());",
    ),
    "over-release: the pass descriptor is not ours": (
        "completion.cpp",
        "  return pass;",
        "  pass->release();\n  return pass;",
    ),
    "over-release: the command buffer is not ours": (
        "submission.cpp",
        "  host.write_back();\n",
        "  host.write_back();\n  commands->release();\n",
    ),
    "no autorelease pool around a submission": (
        "submission.cpp",
        "  Pool pool;\n  for (const Dispatch& dispatch : dispatches) check",
        "  for (const Dispatch& dispatch : dispatches) check",
    ),
    "no autorelease pool around a compilation": (
        "device.cpp",
        "    Pool pool;\n    auto metal_options",
        "    auto metal_options",
    ),
    "no autorelease pool around the list of functions": (
        "library.cpp",
        "  Pool pool;\n  std::vector<std::string> names;",
        "  std::vector<std::string> names;",
    ),
    "the encoder is never ended": (
        "submission.cpp",
        "~Encoder() { encoder_->endEncoding(); }",
        "~Encoder() {}",
    ),
    "committed twice": (
        "submission.cpp",
        "  commands->commit();\n",
        "  commands->commit();\n  commands->commit();\n",
    ),
    "never committed": ("submission.cpp", "  commands->commit();\n", ""),
    "results read without waiting": ("submission.cpp", "  commands->waitUntilCompleted();\n", ""),
    "a second encoder while the first is open": (
        "submission.cpp",
        "      if (concurrent && dispatches[i].barrier_before)",
        "      commands->computeCommandEncoder();\n"
        "      if (concurrent && dispatches[i].barrier_before)",
    ),
    "the pipeline is never set": (
        "submission.cpp",
        "  encoder->setComputePipelineState(pipeline.get());\n",
        "",
    ),
    "the barrier is left out": (
        "submission.cpp",
        "encoder->memoryBarrier(MTL::BarrierScopeBuffers);",
        "{}",
    ),
    "serial submissions are concurrent": (
        "submission.cpp",
        "concurrent ? MTL::DispatchTypeConcurrent : MTL::DispatchTypeSerial",
        "MTL::DispatchTypeConcurrent",
    ),
    "offsets are forgotten": (
        "submission.cpp",
        "encoder->setBuffer(buffer.get(), memory->offset, binding.index);",
        "encoder->setBuffer(buffer.get(), 0, binding.index);",
    ),
    "nothing of a dispatch is checked": (
        "submission.cpp",
        "  check_dispatch(dispatch, pipeline.info(), pipeline.kernel());\n",
        "",
    ),
    "copies are not written back": ("submission.cpp", "  host.write_back();\n", ""),
    "read-only memory is written back": (
        "submission.cpp",
        "entry.copied && entry.writable",
        "entry.copied",
    ),
    "memory that fills no pages is used in place": (
        "submission.cpp",
        "memory.bytes && begin % page == 0 && memory.bytes % page == 0",
        "memory.bytes > 0",
    ),
    "memory that Metal does not map is an error": (
        "submission.cpp",
        "const bool copied = !buffer;",
        "const bool copied = begin % page != 0 || memory.bytes % page != 0;",
    ),
    "an empty array stands for the one at its address": (
        "submission.cpp",
        "place == Place(begin, memory.bytes)",
        "other == begin",
    ),
    "a dispatch keeps the arguments of the one before it": (
        "submission.cpp",
        "        if (held) places[*held].clear_but(places[i], encoder.get());\n",
        "",
    ),
    "a failed command buffer passes for a good one": (
        "submission.cpp",
        "one->status() == MTL::CommandBufferStatusCompleted",
        "one->status() >= MTL::CommandBufferStatusCompleted",
    ),
    "the poisoned queue is kept after a fault": (
        "submission.cpp",
        "    context.renew_queue();\n",
        "",
    ),
    "the encoder at fault is not asked for": (
        "submission.cpp",
        "    if (context.explain_faults || options.explain_faults)\n",
        "    if (false)\n",
    ),
    "a run that asks who is at fault is not told": (
        "submission.cpp",
        "    if (context.explain_faults || options.explain_faults)\n",
        "    if (context.explain_faults)\n",
    ),
    "every run pays for knowing the encoder at fault": (
        "submission.cpp",
        "  context.explain_faults = false;\n",
        "",
    ),
    "samples that overlap are believed": ("completion.cpp", "i && start < ticks[i - 1]", "false"),
    "samples longer than the whole are believed": (
        "completion.cpp",
        "total_us > timing.gpu_us() + kClockSlackUs",
        "false",
    ),
    "an old macOS is asked for its architecture": (
        "device.cpp",
        '!responds(device, "architecture")',
        "false",
    ),
    "another vendor's GPU passes for Apple's": (
        "device.cpp",
        "!device->supportsFamily(MTL::GPUFamilyApple5)",
        "false",
    ),
    "an exception ends the process": (
        "device.cpp",
        'return caught("metal.dispatch",\n                  [&] { return metal::submit('
        "*context_, dispatches, rounds, options); });",
        "return metal::submit(*context_, dispatches, rounds, options);",
    ),
    "the rounds ahead are timed too": (
        "submission.cpp",
        "encode_all(ahead, dispatches, rounds.ahead,",
        "encode_all(ahead, dispatches, rounds.ahead + rounds.times,",
    ),
    "no limit on submissions in flight": ("device.cpp", "places_ > 0", "true"),
    "NSData is asked for mutableBytes": ("objc.cpp", '"bytes"', '"mutableBytes"'),
    "a misspelt selector": ("objc.cpp", '"bytes"', '"byte"'),
    "samples beyond the sample buffer": (
        "completion.cpp",
        "setEndOfEncoderSampleIndex(2 * dispatch + 1)",
        "setEndOfEncoderSampleIndex(2 * dispatch + 2)",
    ),
    "zero samples are believed": ("completion.cpp", "if (start == 0)", "if (false)"),
    "invalid samples are believed": (
        "completion.cpp",
        "if (end == MTL::CounterErrorValue)",
        "if (false)",
    ),
    "unordered samples are believed": ("completion.cpp", "if (end < start)", "if (false)"),
    "a sample buffer that was not made is used": (
        "internal.h",
        "return bool(buffer_);",
        "return samples_ > 0;",
    ),
    "a bystander is blamed": (
        "completion.cpp",
        'reason.find("InnocentVictim") != std::string::npos',
        "false",
    ),
    "a lost device is a fault like any other": (
        "completion.cpp",
        "code == MTL::CommandBufferErrorDeviceRemoved",
        "false",
    ),
    "counters used where there are none": (
        "completion.cpp",
        "samples_ == 0 || !device->supportsCounterSampling"
        "(MTL::CounterSamplingPointAtStageBoundary)",
        "samples_ == 0",
    ),
    "more samples than a sample buffer holds": (
        "submission.cpp",
        "kMaxTimedDispatches = 2048",
        "kMaxTimedDispatches = 1 << 20",
    ),
    "warnings are taken for errors": ("device.cpp", "    if (!library)\n", "    if (error)\n"),
    "the library's nil is not noticed": ("device.cpp", "    if (!library)\n", "    if (false)\n"),
    "the lost compiler is not asked again": (
        "objc.cpp",
        'find("XPC_ERROR_CONNECTION_INTERRUPTED") != std::string::npos',
        'find("XPC_ERROR_CONNECTION_INTERRUPTED") == 0',
    ),
    "the language version is left to the system": (
        "device.cpp",
        "  metal->setLanguageVersion(MTL::LanguageVersion3_1);\n",
        "",
    ),
    "the functions stay fast where the mode is safe": (
        "device.cpp",
        "MTL::MathFloatingPointFunctionsPrecise",
        "MTL::MathFloatingPointFunctionsFast",
    ),
    "fast math is never chosen": (
        "device.cpp",
        "options.fast_math ? MTL::MathModeFast : MTL::MathModeSafe",
        "MTL::MathModeSafe",
    ),
    "macOS 14 always has fast math": (
        "device.cpp",
        "metal->setFastMathEnabled(options.fast_math);",
        "metal->setFastMathEnabled(true);",
    ),
    "macros are dropped": ("device.cpp", "if (!names.empty())", "if (false)"),
    "newer selectors are called on macOS 14": (
        "device.cpp",
        'if (responds(metal.get(), "setMathMode:") &&',
        'if (true || responds(metal.get(), "setMathMode:") &&',
    ),
    "the list of devices is indexed when empty": (
        "device.cpp",
        "all && all->count() > 0",
        "all",
    ),
    "the default device is taken unseen": (
        "device.cpp",
        "if (auto device = NS::TransferPtr(MTL::CreateSystemDefaultDevice())) return device;",
        "return NS::TransferPtr(MTL::CreateSystemDefaultDevice());",
    ),
    "libraries are cached by text alone": (
        "device.cpp",
        'options.fast_math ? "fast\\n" : "safe\\n"',
        '""',
    ),
    "pipelines are cached without their constants": (
        "library.cpp",
        'descriptor.function + "\\n" + constants_key(descriptor.constants)',
        "descriptor.function",
    ),
    "an unspecialised function goes into a pipeline": (
        "library.cpp",
        "if (declared->count() == 0) return function;",
        "return function;",
    ),
    "constants keep the caller's type": (
        "constants.cpp",
        "return write(given.integer<uint32_t>(number));",
        "return write(given.integer<int64_t>(number));",
    ),
    "a vector may lack elements": (
        "constants.cpp",
        "if (elements.size() != width)",
        "if (false)",
    ),
    "a scalar may have elements": (
        "constants.cpp",
        "if (width == 1) given",
        "if (false) given",
    ),
    "a vector's elements are all as large as a float": (
        "constants.cpp",
        "at += store(value.bytes + at, given, one, element)",
        "store(value.bytes + at, given, one, element), at += 4",
    ),
    "a bfloat is cut off": (
        "constants.cpp",
        "std::isnan(single) ? 0 : 0x7fff + (whole >> 16 & 1)",
        "0",
    ),
    "a constant may be given twice": (
        "constants.cpp",
        "if (!given.insert((*found)->index()).second)",
        "if (false)",
    ),
    "a real passes for the integer it equals": (
        "constants.cpp",
        'looks_whole ? ".0" : ""',
        '""',
    ),
    "constants of a linked function's text are unknown": (
        "library.cpp",
        "texts += one.library->text();",
        "(void)one;",
    ),
    "a linked function is renamed": (
        "library.cpp",
        " && function->functionType() == MTL::FunctionTypeKernel",
        "",
    ),
    "linked functions of other types are let through": (
        "library.cpp",
        "spell(wants->second) != spell(has->second)",
        "false",
    ),
    "an archive gives up on a lost compiler": (
        "variants.cpp",
        "!(lost_compiler(error) && add())",
        "true",
    ),
    "an archive is read under validation": (
        "variants.cpp",
        "  refuse_validation();\n  const uint64_t now",
        "  const uint64_t now",
    ),
    "validation switched off refuses archives": (
        "variants.cpp",
        ' && std::string(validation) != "0"',
        "",
    ),
    "objects are let go without a pool": (
        "objc.h",
        "  Pool pool;\n  ((held",
        "  ((held",
    ),
    "contents are asked for without a pool": (
        "internal.h",
        "    Pool pool;\n    return buffer_->contents();",
        "    return buffer_->contents();",
    ),
    "unknown constants are ignored": (
        "constants.cpp",
        "if (declared_in(msl_texts, constant)) continue;",
        "continue;",
    ),
    "the archive may be missed": (
        "library.cpp",
        "if (wanted.fail_on_archive_miss)",
        "if (false)",
    ),
    "an unreadable archive is used": ("variants.cpp", "  if (!loaded.archive)\n", "  if (false)\n"),
    "a changed archive is not read again": (
        "variants.cpp",
        "loaded.archive && loaded.stamp == now",
        "loaded.archive",
    ),
    "an archive written anew is not read again": (
        "variants.cpp",
        "    context_->forget_archive(path);\n",
        "",
    ),
    "input nodes among the graph's nodes": (
        "variants.cpp",
        "ns(wanted.name), array(nodes),",
        "ns(wanted.name), array(std::vector<NS::Object*>{inputs.begin()->second.get()}),",
    ),
    "the graph's types are not checked": (
        "stitching.cpp",
        "if (type != parameters[i])",
        "if (false)",
    ),
    "private functions are not linked": (
        "library.cpp",
        "if (!inlined.empty()) linked->setPrivateFunctions(array(inlined));",
        "",
    ),
    "a table of another pipeline is bound": (
        "submission.cpp",
        "if (!table || table->state() != pipeline.get())",
        "if (!table)",
    ),
}


def place(file: str) -> pathlib.Path:
    """Return where a source of the Metal device is."""
    return next(folder / file for folder in FOLDERS if (folder / file).exists())


def compile_commands(build: pathlib.Path) -> dict[str, list[str]]:
    """Return the compiler's arguments for each source of the Metal device."""
    text = subprocess.run(
        ["ninja", "-C", build, "-t", "compdb"], check=True, capture_output=True, text=True
    ).stdout
    commands = {}
    for entry in json.loads(text):
        source = pathlib.Path(entry["file"])
        if source.parent in FOLDERS:
            commands[source.name] = shlex.split(entry["command"])
    return commands


def precompile(build: pathlib.Path, command: list[str]) -> pathlib.Path:
    """Read metal-cpp's headers once for all faults: they are most of what a source includes."""
    header = build / "mutants" / "metal.hpp"
    header.parent.mkdir(exist_ok=True)
    header.write_text("#include <Foundation/Foundation.hpp>\n#include <Metal/Metal.hpp>\n")
    precompiled = header.with_suffix(".pch")
    flags = command[: command.index("-o")]
    subprocess.run([*flags, "-x", "c++-header", header, "-o", precompiled], cwd=build, check=True)
    return precompiled


def inject(
    build: pathlib.Path,
    commands: dict[str, list[str]],
    precompiled: pathlib.Path,
    number: int,
    name: str,
) -> tuple[str, str]:
    """Build one broken device, run its tests, and say what became of the fault."""
    file, old, new = FAULTS[name]
    text = place(file).read_text()
    if text.count(old) < 1:
        return "NOT APPLIED", ""
    folder = build / "mutants" / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    for header in (ROOT / "cpp" / "metal").glob("*.h"):
        (folder / header.name).write_text(header.read_text())
    (folder / file).write_text(text.replace(old, new))
    objects = build / "CMakeFiles" / "attnproto_devices.dir"
    # A header of the Metal device is included by its sources alone.
    including = [c for c in sorted(commands) if place(c).parent.name == "metal"]
    sources = [file] if file.endswith(".cpp") else including
    replaced = []
    for source in sources:
        if source == "metal_cpp.cpp":
            continue
        broken = folder / source
        if not broken.exists():
            broken.write_text(place(source).read_text())
        command = [
            str(broken) if part.endswith("/" + source) else part for part in commands[source]
        ]
        output = command.index("-o") + 1
        replaced.append(pathlib.Path(command[output]).name)
        command[output] = str(folder / replaced[-1])
        own = [f"-I{folder}", f"-I{ROOT}/cpp/metal", f"-I{ROOT}/cpp", "-w"]
        command[1:1] = [*own, "-include-pch", str(precompiled)]
        built = subprocess.run(command, cwd=build, capture_output=True, text=True)
        if built.returncode:
            return "DOES NOT COMPILE", built.stderr.splitlines()[0]
    kept = [
        str(path)
        for path in sorted(objects.rglob("*.o"))
        if not (path.parent.name in ("metal", "cpp") and path.name in replaced)
    ]
    tests = sorted((build / "CMakeFiles" / "metal_device_test.dir").rglob("*.o"))
    program = folder / "test"
    flags = [part for part in commands["objc.cpp"] if part.startswith("-fsanitize")]
    link = [commands["objc.cpp"][0], *flags, *kept, *map(str, tests)]
    link += [str(folder / one) for one in replaced] + ["-lpthread", "-o", str(program)]
    linked = subprocess.run(link, capture_output=True, text=True)
    if linked.returncode:
        return "DOES NOT LINK", linked.stderr.splitlines()[-1]
    try:
        environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
        ran = subprocess.run(
            [program], capture_output=True, text=True, timeout=TIMEOUT_S, env=environment
        )
    except subprocess.TimeoutExpired:
        return "caught", "hangs"
    finally:
        for path in [program, *folder.glob("*.o")]:
            path.unlink(missing_ok=True)
    if ran.returncode == 0:
        return "MISSED", ""
    lines = [line.strip() for line in ran.stdout.splitlines() if line.startswith("    ")]
    return "caught", lines[0] if lines else f"exit {ran.returncode}"


def main() -> None:
    """Inject every fault; fail unless each is caught."""
    build = pathlib.Path(sys.argv[1]).resolve()
    chosen = [name for name in FAULTS if len(sys.argv) < 3 or sys.argv[2] in name]
    commands = compile_commands(build)
    # Where the unbroken device fails, every fault is caught and nothing is known.
    sound = subprocess.run([build / "metal_device_test"], capture_output=True, text=True)
    if sound.returncode:
        raise SystemExit("the device fails its tests unbroken:\n" + sound.stdout)
    precompiled = precompile(build, commands["objc.cpp"])
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(inject, build, commands, precompiled, i, name)
            for i, name in enumerate(chosen)
        ]
        caught = 0
        for name, job in zip(chosen, jobs, strict=True):
            status, detail = job.result()
            caught += status == "caught"
            print(f"{status:16} {name}: {detail[:110]}", flush=True)
    print(f"{caught}/{len(chosen)} faults caught/injected")
    raise SystemExit(caught != len(chosen))


if __name__ == "__main__":
    main()

"""The command ``attnproto``. Each subcommand imports what it needs when it is called."""

from __future__ import annotations

import io
import json
import math
import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from .errors import AttnprotoError


def _version() -> str:
    from . import __version__

    return __version__


app = App(
    name="attnproto",
    version=_version,
    help="A laboratory for attention kernels on Apple GPUs.",
    result_action="return_value",
)
kb = App(name="kb", help="Findings into a knowledge base and back.")
app.command(kb)

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
UNREAD = 141  # as a shell says of a program whose reader went away


@app.command
def run(
    *,
    quick: Annotated[bool, Parameter(negative=())] = False,
    full: Annotated[bool, Parameter(negative=())] = False,
    device: str = "auto",
    only: str = "",
    out: Path | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
    resume: Annotated[bool, Parameter(negative=())] = False,
    where: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    axis: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    sweep: Path | None = None,
    point: str | None = None,
    limit_s: float | None = None,
    protocol: str | None = None,
    fleet: str | None = None,
    jobs: int | None = None,
    peers: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Run prototypes; write points.jsonl, findings.jsonl, report.html and report.md.

    Args:
        quick: A few minutes: few samples, small problems (the default).
        full: The whole protocol: 5 s warm-up, 50 samples, 10 s for each timed point.
        device: auto, cpu, metal or cuda.
        only: Prototypes by name, separated by commas.
        out: Results folder; a fresh one under results/ by default.
        list_: List the prototypes and stop.
        resume: Go on with the run in --out, or with the newest one.
        where: Keep the points that meet a condition, such as "D == 64"; may be repeated.
        axis: Values in place of the points' own, such as "D=64,128"; may be repeated.
        sweep: A TOML file of sweeps, in place of the prototypes' own points.
        point: One point as JSON, or a list of them.
        limit_s: Seconds one point may take.
        protocol: Time points as quick or full does, whichever run lists them.
        fleet: Address of a dask scheduler whose workers run the points.
        jobs: Processes that compile and judge side by side; one at a time has the device. Left out,
            as many as there are cores on the cpu device, one elsewhere. Times are then those of a
            busy machine: of compilation surely, and where processors and GPU share memory and
            power, as on a Mac, perhaps of kernels.
        peers: Time flash attention beside MLX's and torch's, those that are installed, in place of
            its own points; with --only flash.
    """
    if list_:
        return _list()
    from .commands.run import run_plan
    from .sweep.plan import UsageError, make_plan

    if quick and full:
        raise UsageError("[run] found --quick and --full, needs at most one; drop one of them")
    chosen = tuple(name.strip() for name in only.split(",") if name.strip())
    if peers:
        point = _peer_points("full" if full else "quick", chosen, point)
    plan = make_plan(
        mode="full" if full else "quick",
        device=device,
        only=chosen,
        out=out,
        resume=resume,
        where=where,
        axis=axis,
        sweep_text=_read(sweep) if sweep else None,
        point=point,
        limit_s=limit_s,
        protocol=protocol,
        fleet=fleet,
        jobs=jobs,
        say=print,
    )
    finished = run_plan(plan)
    print(f"\n{finished.rows} points ({finished.not_ok} not ok), {len(finished.findings)} findings")
    for proto, tier, title in finished.findings:
        print(f"  {proto:9} {tier:9} {title}")
    print(f"\nreport: {finished.report}")
    return FAILED if finished.not_ok else 0


def _peer_points(mode: str, chosen: tuple[str, ...], point: str | None) -> str:
    from .prototypes.flash.prototype import peer_points
    from .sweep.plan import UsageError

    if chosen != ("flash",) or point is not None:
        raise UsageError("[run] found --peers, needs flash alone; pass --only flash, no --point")
    listed = peer_points(mode)
    if not listed:
        raise UsageError("[run] found no peer, needs mlx or torch; pip install one of them")
    return json.dumps(listed)


def _read(path: Path) -> str:
    from .sweep.plan import UsageError

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a name that none can be
        why = getattr(error, "strerror", None) or error
        raise UsageError(
            f"[cli] found {path} unreadable ({why}), needs a text file in UTF-8; check the path"
        ) from error


def _list() -> int:
    from .prototypes.registry import REGISTRY, load

    for line in REGISTRY:
        points = load(line.name).points
        state = f"{len(points('quick'))} points quick, {len(points('full'))} full"
        print(f"{line.number}  {line.name:<10} {state:<32} {line.question}")
    return 0


@app.command
def report(folder: Path) -> int:
    """Draw findings and report of a results folder again.

    Args:
        folder: Holds points.jsonl.
    """
    from .commands.conclude import conclude

    _require_points(folder)
    print(f"report: {conclude(folder).report}")
    return 0


@app.command
def rows(
    folder: Path, *, csv: Path | None = None, parquet: Path | None = None, sql: str = ""
) -> int:
    """Write the rows of a results folder for other tools; to the screen as CSV by default.

    Args:
        folder: Holds points.jsonl.
        csv: A CSV file to write.
        parquet: A Parquet file to write.
        sql: A query over the table "rows", whose columns are such as point_D, result_time_us and
            device_name: "select point_D, min(result_time_us) from rows group by 1".
    """
    from .commands.rows import write_rows

    _require_points(folder)
    print(write_rows(folder, csv=csv, parquet=parquet, sql=sql), end="")
    return 0


@app.command
def compare(
    before: Path,
    after: str,
    *,
    margin: float = 0.02,
    fail_on_regression: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Compare two results folders, or a folder with a git revision, point by point.

    Args:
        before: A results folder.
        after: A results folder, or a revision whose kernels are run on the same points.
        margin: Largest difference called equal, as a fraction.
        fail_on_regression: End with exit code 1 when a point got wrong or slower.
    """
    from .commands.compare import compare_folders, compare_with_revision, render
    from .sweep.plan import UsageError

    _require_points(before)
    if not 0.0 <= margin < math.inf:
        raise UsageError(f"[compare] found --margin {margin:g}, needs a share from 0; pass 0.02")
    if Path(after).is_dir():
        _require_points(Path(after))
        comparison = compare_folders(before, Path(after), margin)
    else:
        comparison = compare_with_revision(before, after, margin)
    print(render(comparison))
    return FAILED if fail_on_regression and comparison.regressions else 0


@app.command
def selftest(*, seed: int = 0) -> int:
    """Test the instrument itself: known noise is recovered, cheating kernels are caught.

    Args:
        seed: Of the synthetic samples.
    """
    from .commands.selftest import run_selftest
    from .sweep.plan import UsageError

    if seed < 0:
        raise UsageError(f"[selftest] found --seed {seed}, needs a whole number from 0")
    checks = run_selftest(seed)
    for check in checks:
        print(f"{'ok' if check.passed else 'FAILED':<7} {check.name}: {check.detail}")
    return 0 if all(check.passed for check in checks) else FAILED


@app.command
def reverify(folder: Path) -> int:
    """Run the evidence behind each finding again: confirmed, contradicted or stale.

    Args:
        folder: A results folder with findings.jsonl.
    """
    from .commands.reverify import reverify as again
    from .results.store import FINDINGS

    _require_points(folder)
    _require(folder, FINDINGS)
    marks = again(folder)
    if not marks:
        print(f"{folder / FINDINGS} holds no finding")
    for mark in marks:
        print(f"{mark.state:<13} {mark.title}" + (f": {mark.reason}" if mark.reason else ""))
    return FAILED if any(mark.state == "contradicted" for mark in marks) else 0


@kb.command(name="import")
def kb_import(
    findings: Path,
    *,
    db: Path | None = None,
    command: Annotated[str | None, Parameter(name="--kb")] = None,
) -> int:
    """Import a findings file, all of it or nothing; importing it twice adds nothing.

    Args:
        findings: findings.jsonl.
        db: A GPU Forge SQLite file, created if absent.
        command: GPU Forge's kb command, instead of --db.
    """
    from .results import kb as base

    if (db is None) == (command is None):
        raise base.KbError(
            "[kb.import] found neither or both of --db and --kb, needs one; pass --db FILE"
        )
    records = base.load(findings)
    if db is not None:
        done = base.import_into_database(records, db)
    else:
        done = base.import_by_command(records, str(command))
    print(f"{done.added} findings added, {done.present} were there")
    return 0


@kb.command(name="export")
def kb_export(db: Path, out: Path) -> int:
    """Write the findings that were imported into a database back to a file.

    Args:
        db: A GPU Forge SQLite file.
        out: The findings file to write; what stands there is replaced if it is one.
    """
    from .results.findings import write_findings
    from .results.kb import check_replaceable, export_from_database

    findings = export_from_database(db)
    check_replaceable(out)
    write_findings(out, findings)
    print(f"{len(findings)} findings written to {out}")
    return 0


@app.command
def lint(file: Path) -> int:
    """Find what Apple's MSL 3.1 compiler would reject in a kernel text, without a Mac.

    Args:
        file: MSL; the files that it includes are looked for beside it.
    """
    from .compiler.lint.lint import lint as check

    lints = check(_read(file), folder=file.resolve().parent)
    for one in lints:
        place = f"{one.file or file}:{one.line}:{one.column}"
        print(f"{place}: {one.severity}: {one.message} [{one.rule}]")
    errors = sum(one.severity == "error" for one in lints)
    print(f"{errors} errors, {len(lints) - errors} warnings")
    return FAILED if errors else 0


@app.command
def metallib(file: Path, *, kernel: str = "") -> int:
    """List the kernels that Apple's compiler has compiled into a metallib, without a Mac.

    Args:
        file: The metallib.
        kernel: A kernel whose launch is described: arguments, function constants, threadgroup
            memory and threads.
    """
    from .commands.metallib import listing, signature

    for line in signature(file, kernel) if kernel else listing(file):
        print(line)
    return 0


@app.command(name="compile")
def compile_(
    file: Path,
    *,
    kernel: str = "",
    constant: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    emit: str = "ir",
    print_after: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    stop_after: str = "",
    target: str = "",
) -> int:
    """Show what the compiler makes of one kernel; nothing is run.

    Args:
        file: MSL, whose own includes are looked for beside it; or a metallib.
        kernel: Its name; need not be given where the file has one kernel.
        constant: A function constant by index or name, such as "0=64", "causal=true" or, of a
            vector, "2=1,0.5"; may be repeated.
        emit: ir (optimised LLVM IR of one lane), vector-ir (of a simdgroup, as the lockstep engine
            runs it), asm (this machine's assembly), ptx, or sass-registers (registers and
            instruction counts of an NVIDIA GPU; needs the extra attnproto[sass]).
        print_after: A pass whose outcome is shown as well; may be repeated. A name that is no pass
            brings the list of them.
        stop_after: The last pass to run; its outcome is shown in place of what --emit says.
        target: host, a GPU such as sm_90, or MACHINE-SYSTEM:PROCESSOR such as
            aarch64-apple-macosx:apple-m1; as --emit needs it by default.
    """
    from .commands.compile import Asked, compile_kernel

    asked = Asked(file, kernel, constant, emit, print_after, stop_after, target)
    compile_kernel(asked, print)
    return 0


@app.command
def predict(
    file: Path | None = None,
    *,
    only: str = "",
    axis: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    where: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    kernel: str = "",
    launch: str = "",
    buffer: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    threadgroup: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    constant: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    attention: str = "",
    chip: str = "M4",
) -> int:
    """Say what an M4 is expected to take, from counts; never a measurement.

    Args:
        file: MSL, for a kernel of one's own; its own includes are looked for beside it.
        only: flash, in place of a file: what its tiles are expected to take.
        axis: Values in place of the points' own, such as "D=64,128"; may be repeated.
        where: Keep the points that meet a condition; may be repeated.
        kernel: Its name; need not be given where the file has one kernel.
        launch: Threadgroups and threads of the dispatch, such as "64,8x128".
        buffer: "INDEX=TYPE:ELEMENTS", or "INDEX=TYPE=VALUE" for a number, with f16, bf16, f32, or
            i8 to i64 and u8 to u64, whose elements are 0; may be repeated.
        threadgroup: "INDEX=BYTES" of an argument in threadgroup memory; may be repeated.
        constant: A function constant, as compile takes it; may be repeated.
        attention: "N,D" or "N,D,staged" where the kernel is attention without a mask; else there is
            a bound only.
        chip: M4, M4 Pro, M4 Max, or a file that calibrate wrote.
    """
    from .commands import predict as command
    from .sweep.plan import UsageError

    if (file is None) == (not only):
        raise UsageError(
            "[predict] found neither or both of a file and --only, needs one; pass --only flash"
        )
    own = {"kernel": kernel, "launch": launch, "buffer": buffer, "threadgroup": threadgroup}
    of_file = {**own, "constant": constant, "attention": attention}
    of_points = {"axis": axis, "where": where}
    for name, value in (of_points if file else of_file).items():
        if value:
            raise UsageError(
                f"[predict] found --{name} with {'a file' if file else '--only'}, needs "
                f"{'--only flash' if file else 'a file'} for it; leave it out"
            )
    if file is None:
        command.predict_points(only, axis, where, command.chip_of(chip), print)
        return 0
    asked = command.Launch(file, kernel, launch, buffer, threadgroup, constant, attention)
    command.predict_file(asked, command.chip_of(chip), print)
    return 0


@app.command
def calibrate(
    *, out: Path = Path("chip.json"), device: str = "auto", cores: int | None = None
) -> int:
    """Time probes and flash tiles on this Mac; write the record that predict --chip takes.

    Args:
        out: The record to write.
        device: auto or metal.
        cores: Of the GPU, where they are not those of the chip with its name.
    """
    from .commands.calibrate import calibrate_device

    chip = calibrate_device(device, out, cores, print)
    for name, constant in chip.constants.items():
        print(f"{name} {constant.value:.4g} {constant.unit}: {constant.source}")
    print(f"written: {out}")
    return 0


@app.command
def tune(
    *,
    only: str = "flash",
    d: Annotated[int, Parameter(name="--D")] = 128,
    n: Annotated[int, Parameter(name="--N")] = 4096,
    nkv: Annotated[int | None, Parameter(name="--Nkv")] = None,
    dtype: str = "f16",
    b: Annotated[int, Parameter(name="--B")] = 1,
    hq: Annotated[int, Parameter(name="--Hq")] = 1,
    hkv: Annotated[int | None, Parameter(name="--Hkv")] = None,
    causal: Annotated[bool, Parameter(negative=())] = False,
    device: str = "auto",
    full: Annotated[bool, Parameter(negative=())] = False,
    budget_s: float | None = None,
    out: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
) -> int:
    """Find the fastest tile for a problem on this device; flash_attention(tile="tuned") takes it.

    Args:
        only: What is tuned: flash.
        d: Dimensions of a head.
        n: Queries, and keys where --Nkv does not say another number.
        nkv: Keys.
        dtype: f16, bf16 or f32.
        b: Batch entries.
        hq: Query heads.
        hkv: Key and value heads; as many as query heads by default.
        causal: Whether a query sees earlier keys only.
        device: auto, metal or cuda.
        full: Each comparison by the whole protocol.
        budget_s: Seconds after which the best tile so far is the answer.
        out: Results folder; a fresh one under results/tune/ by default.
        resume: Go on with the search in --out, or with the newest one.
        list_: List what was tuned and stop.
    """
    from .commands.tune import TuneError, list_tuned, said
    from .commands.tune import tune as search
    from .problem import AttentionProblem

    if list_:
        print("\n".join(list_tuned()) or "nothing was tuned yet")
        return 0
    if only != "flash":
        raise TuneError(f"[tune] found --only {only!r}, needs flash, whose tiles are many")
    keys, heads = (n if nkv is None else nkv), (hq if hkv is None else hkv)
    problem = AttentionProblem(b, hq, heads, n, keys, d, dtype, causal)
    mode = "full" if full else "quick"
    tuning = search(problem, kind=device, mode=mode, out=out, resume=resume, budget_s=budget_s)
    print(f"\n{said(tuning.record)}\nrecord: {tuning.path}\nreport: {tuning.finished.report}")
    return 0


def _require_points(folder: Path) -> None:
    from .results.store import POINTS

    _require(folder, POINTS)


def _require(folder: Path, name: str) -> None:
    from .sweep.plan import UsageError

    if not (folder / name).is_file():
        raise UsageError(
            f"[cli] found no {name} in {folder}, needs a results folder; check the path"
        )


app.command(
    "attnproto.commands.doctor.checks:doctor",
    name="doctor",
    help="Say what is there and what is missing; on a Mac, answer the open questions too.",
)


def guarded(call: App, words: list[str] | None = None) -> int:
    """Run a command line; a mistake gets one sentence and exit code 2.

    A reader that goes away, as ``head`` does, ends it quietly.

    Args:
        call: The application.
        words: Arguments; those of the process when None.

    Returns:
        The exit code.
    """
    try:
        result = call(words)
        sys.stdout.flush()
    except AttnprotoError as error:
        # A name that is not UTF-8 can't be printed as it is.
        print(str(error).encode(errors="backslashreplace").decode(), file=sys.stderr)
        return MISUSED
    except BrokenPipeError:
        _drop_output()
        return UNREAD
    except OSError as error:
        _drop_output()
        print(f"[cli] found {error}, needs files that can be read and written", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _drop_output() -> None:
    """Let what is still to be written go nowhere, as Python writes it when it ends."""
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Enter from the shell."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # as stderr does: a file's name need not be UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(guarded(app))

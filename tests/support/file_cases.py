"""Files and command lines of a seed: archives, rows, findings, sweeps, each changed somewhere."""

from __future__ import annotations

import contextlib
import json
import os
import random
import tempfile
from functools import cache
from pathlib import Path

import attnproto
import numpy as np
from attnproto import cli
from attnproto.device import archive

from .archives import rewrite_head
from .fuzzing import refusing

ROOT = Path(__file__).parents[2]
KERNEL = "constant float c [[function_constant(0)]];\n"
KERNEL += "kernel void k(device float* y [[buffer(0)]]) { y[0] = c; }"
ODD = (
    None, True, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "x", "\0", "\u00e9", "\ud800", "<script>", "../../x", "a\nb", "9" * 5000,
    [], {}, [[]], {"": {}}, [None] * 50, "D == 64", "flash", "emulated", "cuda", "f16",
)  # fmt: skip
NEVER = ("--where", "1 == 2")  # nothing is run
_FILES = """
points points/points.jsonl points/findings.jsonl empty sweep.toml k.metal k.db none bytes /dev/null
/ - --
"""
_WORDS = """
run report compare selftest reverify kb import export lint compile --quick --full --only flash,paged
--device cpu cuda --out --list --resume --where 1==2 D== --axis D=64,128 D= --sweep --point {}
{"kind":"tile"} --limit-s 0 -1 nan 1e999 --protocol --jobs --margin --fail-on-regression --seed --db
--kb --kernel k --constant 0=64 c=true --emit ptx asm vector-ir --print-after optimize --stop-after
--target sm_90 x-y-z:w --help --version =
"""
FILES = _FILES.split()
WORDS = [*_WORDS.split(), *FILES, *FILES, "\0", "\udcff", "", "x" * 9999, "D == 64"]
COMMANDS = (
    ("report", "points"),
    ("compare", "points", "points"),
    ("compare", "points", "other"),
    ("reverify", "points"),
    ("kb", "import", "points/findings.jsonl", "--db", "new.db"),
    ("kb", "export", "k.db", "new.jsonl"),
    ("lint", "k.metal"),
    ("compile", "k.metal", "--constant", "0=1"),
    ("run", "--sweep", "sweep.toml", *NEVER),
    ("run", "--only", "flash", "--axis", "D=64", *NEVER),
)


@cache
def device() -> attnproto.Device:
    """The device that takes archives."""
    return attnproto.open_device("cpu", time_limit_s=1)


@cache
def whole_archive() -> bytes:
    """An archive as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        builder = archive.build(device())
        builder.add(device().library(KERNEL), "k", {0: 2.0})
        path = Path(folder, "a")
        builder.save(path)
        return path.read_bytes()


@cache
def records(name: str) -> tuple[dict, ...]:
    """Some of the rows or findings that were measured."""
    lines = (ROOT / "results" / "h200" / name).read_text(encoding="utf-8").splitlines()
    return tuple(map(json.loads, lines[:: max(1, len(lines) // 40)]))


def replaced(value: object, chance: random.Random) -> object:
    """A JSON value with one value inside it, or the whole, replaced."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        if chance.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: replaced(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], replaced(value[at], chance), *value[at + 1 :]]
    return chance.choice(ODD)


def lines_of(name: str, chance: random.Random) -> bytes:
    """A file of JSON lines."""
    kept = chance.sample(records(name), chance.randint(0, 4))
    for _ in range(chance.choice((0, 1, 1, 2))):
        if kept:
            at = chance.randrange(len(kept))
            kept[at] = replaced(kept[at], chance)
    content = "".join(json.dumps(one) + "\n" for one in kept).encode("utf-8", "surrogatepass")
    return scratched(content, chance) if chance.random() < 0.2 else content


def scratched(content: bytes, chance: random.Random) -> bytes:
    """Bytes with some changed, lost or more."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 3, 20))):
        at = chance.randrange(len(changed) + 1)
        changed[at : at + chance.choice((0, 1, 1, 50))] = chance.choice(
            (b"", b"\0", b"\xff", b"\n", b"{", b'"', b"[[", b"9" * 20, changed[:30])
        )
    return bytes(changed)


def attempt_archive(chance: random.Random, folder: Path) -> None:
    """An archive that lost or won something is refused, and the kernel still compiled right."""
    path = folder / "a.attnproto"
    if chance.random() < 0.5:
        path.write_bytes(scratched(whole_archive(), chance))
    else:
        path.write_bytes(whole_archive())
        fields = path.read_bytes().split(b"\n\n", 1)[0].split(b"\n")[2:]
        field = chance.choice([line.split(b"\t")[0].decode() for line in fields])
        rewrite_head(
            path, **{field: chance.choice(("", "x", "0", "-1", "9" * 30, "[]", "\t", "{}"))}
        )
    with refusing():
        archive.load(path, device())
    for fails in (True, False):
        with refusing():
            pipeline = (
                device().library(KERNEL).pipeline("k", {0: 3}, archive=path, fail_on_miss=fails)
            )
            y = np.zeros(1, np.float32)
            device().run(pipeline, threadgroups=1, threads=1, buffers={0: y})
            if y[0] != 3:
                raise ValueError(f"an archive's kernel gives {y[0]} for 3")


def attempt_command(words: list[str]) -> None:
    """A command line ends with a code that it has."""
    with (
        open(os.devnull, "w", encoding="utf-8", errors="backslashreplace") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        try:
            code = cli.guarded(cli.app, words)
        except SystemExit as ended:
            code = ended.code
    if code not in (0, cli.FAILED, cli.MISUSED):
        raise ValueError(f"exit code {code!r}")


def attempt(seed: int) -> None:
    """One archive, or files and a command that reads them, or a command line of any words."""
    chance = random.Random(seed)
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if seed % 4 == 0:
            attempt_archive(chance, folder)
            return
        for results in ("points", "other"):
            (folder / results).mkdir()
            (folder / results / "points.jsonl").write_bytes(lines_of("points.jsonl", chance))
            (folder / results / "findings.jsonl").write_bytes(lines_of("findings.jsonl", chance))
        (folder / "empty").mkdir()
        sweep = (ROOT / "bench" / "flash.toml").read_bytes()
        (folder / "sweep.toml").write_bytes(scratched(sweep, chance))
        (folder / "k.metal").write_bytes(scratched(KERNEL.encode(), chance))
        (folder / "bytes").write_bytes(chance.randbytes(chance.randint(0, 2000)))
        if seed % 4 == 1:
            words = [*chance.choice(COMMANDS)]
            for _ in range(chance.choice((0, 1, 1, 2))):
                words.insert(chance.randint(0, len(words)), chance.choice(WORDS))
        elif seed % 4 == 2:
            words = [*chance.choice(COMMANDS)]
        else:
            words = [chance.choice(WORDS) for _ in range(chance.randint(0, 8))]
        if "run" in words:
            words += NEVER
        os.chdir(folder)
        try:
            attempt_command(words)
        finally:
            os.chdir(here)

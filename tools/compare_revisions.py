"""What two revisions make of the same kernels, and the rows of ``make bench`` of both.

The first revision's tests are begun once to learn which kernels they ask for, with their constants
and linked functions. Each revision then compiles all of them for every way the cpu device runs a
kernel, and to PTX. Object files and PTX are compared byte for byte, and so are the sentences of
kernels that are refused; keys of caches are not. With ``--rows`` both run ``make bench`` too, and
rows are compared but for times, environment and commit.

Run: python tools/compare_revisions.py BASE HEAD [--share N] [--rows]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = (
    "flash", "linear", "paged", "variants", "score_ways", "matrix", "products", "bfloat",
    "language", "simd", "threadgroups", "divergence", "third_party",
)  # fmt: skip
# Where a revision keeps its compilers, newest layout first.
HOST = ("attnproto.compiler.targets.host", "attnproto.msl.front_end")
NVPTX = ("attnproto.compiler.targets.nvptx", "attnproto.msl.ptx")
WAYS = {
    "lockstep": {},
    "fibers": {"engine": "fibers"},
    "counting": {"counting": True},
    "memory": {"validate": "memory"},
    "nan": {"validate": "nan"},
}
# Of a row, what neither clock, machine nor revision decides, beside its result.
CONSTANT = ("mode", "status", "reason", "device")


def record(corpus: Path) -> None:
    """Write what the tests of kernels compile first, one JSON object a line; none is run."""
    import attnproto
    import pytest

    seen: dict[str, None] = {}

    def pipeline(library, name, constants=None, *, linked=(), private=None, **others):
        plain = {
            key if isinstance(key, str) else int(key): getattr(value, "item", lambda v=value: v)()
            for key, value in (constants or {}).items()
        }
        entry = {
            "text": library.text,
            "function": name,
            "constants": list(plain.items()),
            "linked": list(linked),
            "private": [[f, other.text] for f, other in (private or {}).items()],
        }
        seen[json.dumps(entry)] = None
        pytest.skip("recorded")

    attnproto.Library.pipeline = pipeline
    files = [f"tests/test_{name}.py" for name in TESTS]
    pytest.main(["-q", "-p", "no:cacheprovider", *files])
    corpus.write_text("".join(f"{line}\n" for line in seen))


def compile_all(corpus: Path, into: Path, share: int, ways: list[str]) -> None:
    """Compile a corpus and write a digest or a sentence for each kernel and way."""
    import attnproto

    device = attnproto.open_device("cpu")
    host = _module(HOST)
    front_ends = {way: host.NativeFrontEnd(**WAYS[way]) for way in ways if way in WAYS}
    nvptx = _module(NVPTX).PtxFrontEnd("sm_90", 256)
    describe = _module(("attnproto.device.library", "attnproto.library")).describe
    libraries: dict[str, attnproto.Library] = {}
    with into.open("w") as out:
        for line in corpus.read_text().splitlines():
            name = hashlib.sha256(line.encode()).hexdigest()[:16]
            if int(name, 16) % share:
                continue
            entry = json.loads(line)
            private = {}
            for function, text in entry["private"]:
                if text not in libraries:
                    libraries[text] = device.library(text)
                private[function] = libraries[text]
            described = describe(
                entry["function"], dict(map(tuple, entry["constants"])), entry["linked"], private
            )
            artefacts = {"name": name, "function": entry["function"]}
            for way, front_end in front_ends.items():
                artefacts[way] = _made(_object, front_end, entry["text"], described)
            if "ptx" in ways:
                artefacts["ptx"] = _made(_ptx, nvptx, entry["text"], described)
            out.write(json.dumps(artefacts) + "\n")
            out.flush()


def _module(places: tuple[str, ...]):
    import importlib

    for place in places:
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if not place.startswith(error.name or "?"):
                raise
    raise SystemExit(f"[compare] found none of {', '.join(places)} in this revision")


def _object(front_end, text, described):
    code = front_end.object_code(text, described)
    bound = [(a.index, a.min_bytes, a.name) for a in code.arguments]
    facts = f"{bound} {code.static_threadgroup_bytes} {code.max_threads} {code.engine}"
    return facts.encode() + code.object_file


def _ptx(front_end, text, described):
    image = front_end.compile(text, described)
    return f"{image.static_threadgroup_bytes} {image.max_threads}".encode() + image.code


def _made(make, *arguments) -> str:
    try:
        return hashlib.sha256(make(*arguments)).hexdigest()[:16]
    except Exception as error:  # a revision's own bug is what it makes of the kernel
        return str(error) or type(error).__name__


def compare(first: Path, second: Path) -> int:
    """Print what differs between two files of ``compile_all``; return how many kernels do."""
    one, two = (
        {k["name"]: k for k in map(json.loads, path.read_text().splitlines())}
        for path in (first, second)
    )
    differing = 0
    for name in sorted(one.keys() | two.keys()):
        ways = [w for w in [*WAYS, "ptx"] if one.get(name, {}).get(w) != two.get(name, {}).get(w)]
        if not ways:
            continue
        differing += 1
        print(f"{name} {(one.get(name) or two[name])['function']}: {', '.join(ways)}")
        for way in ways:
            print(f"    {way}: {one.get(name, {}).get(way)} | {two.get(name, {}).get(way)}")
    artefacts = sum(len(kernel) - 2 for kernel in one.values())
    print(f"{len(one)} and {len(two)} kernels, {artefacts} artefacts: {differing} kernels differ")
    return differing


def compare_rows(first: Path, second: Path) -> int:
    """Print what differs between two sweeps' rows; return how many rows do."""
    one, two = (
        {
            json.dumps([row["proto"], row["point"]], sort_keys=True): _constant(row)
            for row in map(json.loads, (folder / "points.jsonl").read_text().splitlines())
        }
        for folder in (first, second)
    )
    differing = 0
    for key in sorted(one.keys() | two.keys()):
        if one.get(key) == two.get(key):
            continue
        differing += 1
        a, b = one.get(key) or {}, two.get(key) or {}
        fields = [f for f in sorted(a.keys() | b.keys()) if a.get(f) != b.get(f)]
        print(f"{key[:150]}: " + "; ".join(f"{f} {a.get(f)!r} | {b.get(f)!r}" for f in fields))
    print(f"{len(one)} and {len(two)} rows: {differing} differ")
    return differing


def _constant(row: dict) -> dict:
    """What of a row is the same in every run of the same code: no time, by what metrics say."""
    from attnproto.prototypes.registry import metrics_of
    from attnproto.results.metrics import CLOCK

    known = metrics_of(row["proto"])
    varying = {name for name, metric in known.items() if metric.noise == CLOCK}
    result = {name: value for name, value in row["result"].items() if name not in varying}
    return {field: row[field] for field in CONSTANT} | result


def _tree(revision: str, folder: Path) -> Path:
    """A work tree of a revision with its own installation."""
    root = Path(__file__).resolve().parents[1]
    tree = folder / "tree"
    subprocess.run(
        ["git", "-C", root, "worktree", "add", "-q", "--detach", tree, revision], check=True
    )
    subprocess.run(["make", "-s", "-C", tree, ".venv/installed"], check=True)
    return tree


def _probe(tree: Path, cache: Path, *arguments: str | Path) -> None:
    environment = {**os.environ, "ATTNPROTO_CACHE_DIR": str(cache)}
    command = [tree / ".venv/bin/python", Path(__file__).resolve(), *arguments]
    subprocess.run([str(word) for word in command], cwd=tree, env=environment, check=True)


def main() -> int:
    """Compare two revisions; 0 where nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("base", help="a revision, or a tree with its .venv")
    parser.add_argument("head", help="likewise")
    parser.add_argument("--share", type=int, default=1, help="compile one kernel of so many")
    parser.add_argument("--corpus", type=Path, help="of an earlier run; else the tests are run")
    parser.add_argument("--keep", type=Path, help="folder for corpus and digests")
    parser.add_argument("--ways", default=",".join([*WAYS, "ptx"]), help="of compiling")
    parser.add_argument("--rows", action="store_true", help="compare the rows of make bench too")
    given = parser.parse_args()
    if given.rows:
        import attnproto.results.metrics  # noqa: F401 - wanted at the end; missed at once
    with tempfile.TemporaryDirectory() as temporary:
        keep = given.keep or Path(temporary)
        keep.mkdir(parents=True, exist_ok=True)
        trees, digests = [], []
        for side in ("base", "head"):
            revision = getattr(given, side)
            (Path(temporary) / side).mkdir()
            is_tree = Path(revision, ".venv").is_dir()
            tree = Path(revision).resolve() if is_tree else _tree(revision, Path(temporary) / side)
            trees.append(tree)
            corpus = given.corpus or keep / "corpus.jsonl"
            cache = Path(temporary) / side / "cache"
            if not corpus.exists():
                _probe(tree, cache, "--record", corpus)
            digests.append(keep / f"{side}.jsonl")
            _probe(tree, cache, "--compile", corpus, digests[-1], str(given.share), given.ways)
        differing = compare(*digests)
        if given.rows:
            outs = [keep / f"rows-{side}" for side in ("base", "head")]
            for tree, out in zip(trees, outs, strict=True):
                command = [".venv/bin/python", "bench/run_all.py", "--quick", "--out", str(out)]
                subprocess.run(command, cwd=tree, check=True)
            differing += compare_rows(*outs)
        subprocess.run(["git", "-C", str(Path(__file__).resolve().parents[1]), "worktree", "prune"])
    return 1 if differing else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--record"]:
        record(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["--compile"]:
        compile_all(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5].split(","))
    else:
        sys.exit(main())

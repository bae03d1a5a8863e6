"""What the report shows of the CubeCL prototype: the comparison's table, and texts in pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attnproto.prototypes.rows import Case, Row
from attnproto.results.tables import SideBySide, Table, side_by_side

from .kernels import MENDS
from .viability import verdicts

Result = Mapping[str, Any]
_TEXTS = (("cmma", "hand8"), ("cubek", "hand32"), ("flash", "hand-flash"))


def _matrices(result: Result) -> str:
    executed = result["matrix_operations"]
    return f"yes, {executed:g}" if executed else "no"


def _generated(result: Result) -> str:
    if "as_generated" not in result:
        return "by hand"
    return result["as_generated"].split(":")[0]


def _pressure(result: Result) -> str:
    """Registers, as far as a device or compiler tells."""
    parts = []
    if "agx_live_registers" in result:
        parts.append(f"AGX {result['agx_live_registers']} live")
    if "ptx_registers" in result:
        parts.append(f"ptxas {result['ptx_registers']}, {result['ptx_spill_bytes']} B spilled")
    parts.append(f"clang {result['live_registers']} live, {result['ir_frame_bytes']} B in memory")
    return "; ".join([*parts, f"{result['device_max_threads']} threads at most"])


_COLUMNS: tuple[tuple[str, Callable[[Result], Any]], ...] = (
    ("as generated", _generated),
    ("lines", lambda r: r["text_lines"]),
    ("clang IR", lambda r: r["ir_instructions"]),
    ("SASS", lambda r: r.get("sass_instructions")),
    ("AIR", lambda r: r.get("air_instructions")),
    ("AGX", lambda r: r.get("agx_instructions")),
    ("simdgroup_matrix, executed", _matrices),
    ("in the text", lambda r: r["text_matrix_operations"]),
    ("threadgroup bytes", lambda r: r["threadgroup_bytes"]),
    ("barriers a thread", lambda r: r["barriers_a_thread"]),
    ("register pressure", _pressure),
    ("device bytes loaded", lambda r: r["device_load_bytes"]),
    ("threadgroup loads", lambda r: r["threadgroup_loads"]),
    ("float operations", lambda r: r["float_operations"]),
    ("error / allowed", lambda r: r["worst_ratio"]),
)


def sections(rows: Sequence[Row]) -> list[Table | SideBySide]:
    """Make the comparison's exhibits of one device's rows."""
    case = Case(rows)
    return [*_tables(case), *_verdicts(case), *_times(case), *_pairs(case)]


def _name(row: Row) -> str:
    point = row["point"]
    return f"{point['name']} {point['dtype']} N {point['N']}"


def _tables(case: Case) -> list[Table]:
    rows = [row for row in case.of("kernel") if "ir_instructions" in row["result"]]
    refused = [row for row in case.of("kernel") if "refused" in row["result"]]
    if not rows:
        return []
    rejected = sum(bool(row["result"]["rejected"]) for row in rows)
    missing = sorted({why for row in rows for why in row["result"]["not_counted"]})
    # A column that nothing here can fill would only be wide.
    columns = [
        (title, cell)
        for title, cell in _COLUMNS
        if any(cell(row["result"]) is not None for row in rows)
    ]
    table = Table(
        "CubeCL's kernels beside ours",
        "Counts are of the mended text where MSL does not define the generated one. Operations and "
        "bytes are executed, counted by the cpu device. Texts that break a rule of MSL 3.1 which "
        f"clang lets pass: {rejected}." + "".join(f" {why}." for why in missing),
        ("kernel", *(title for title, _ in columns)),
        tuple((_name(row), *(cell(row["result"]) for _, cell in columns)) for row in rows),
    )
    lines = tuple(
        (_name(row), row["result"]["versions"], row["result"]["refused"]) for row in refused
    )
    said = Table("What CubeCL refused to generate", "", ("kernel", "versions", "its reason"), lines)
    return [table, *_mends(rows), *_rejected(rows), *([said] if lines else [])]


def _rejected(rows: Sequence[Row]) -> list[Table]:
    lines = tuple((_name(row), why) for row in rows for why in row["result"]["rejected"])
    title = "What Apple's compiler would reject in the texts"
    return [Table(title, "", ("kernel", "rule"), lines)] if lines else []


def _mends(rows: Sequence[Row]) -> list[Table]:
    lines = tuple(
        (_name(row), row["result"]["mends"][mend.name], mend.why, mend.replacement.strip())
        for row in rows
        for mend in MENDS
        if mend.name in row["result"].get("mends", {})
    )
    title = "What MSL leaves undefined in the generated texts"
    columns = ("kernel", "places", "why", "mended to")
    return [Table(title, "", columns, lines)] if lines else []


def _verdicts(case: Case) -> list[Table]:
    judged = verdicts(case)
    lines = tuple((one.way, one.versions, one.off_path, one.on_path, one.why) for one in judged)
    columns = ("way", "versions", "off the critical path", "on it", "by")
    note = "Computed from the rows; what is on the critical path needs times of the target."
    return [Table("Recommendation on CubeCL", note, columns, lines)] if lines else []


def _times(case: Case) -> list[Table]:
    rows = [row for row in case.of("pair") if "ratio" in row["result"]]
    lines = tuple(
        (
            f"{row['point']['a']} / {row['point']['b']}",
            row["point"]["dtype"],
            row["point"]["N"],
            *(row["result"][name] for name in ("a_tflops", "b_tflops", "ratio", "ratio_low")),
            row["result"]["ratio_high"],
            row["result"]["verdict"],
        )
        for row in rows
    )
    columns = ("pair", "dtype", "N", "first TFLOP/s", "second TFLOP/s", "time ratio", "low", "high")
    title = f"In turns, on {case.device.name}"
    return [Table(title, "", (*columns, "verdict"), lines)] if lines else []


def _pairs(case: Case) -> list[SideBySide]:
    shown = []
    for names in _TEXTS:
        texts = []
        for name in names:
            rows = [r for r in case.of("kernel", name=name, dtype="f16") if "text" in r["result"]]
            texts += [rows[0]["result"]["text"]] if rows else []
        if len(texts) == 2:
            title = f"{names[0]} as generated, and {names[1]}"
            shown.append(side_by_side(title, names, (texts[0], texts[1])))
    return shown

"""Kernels whose times on an M4 others published, with what they do, counted here.

Two files of the package's data: metal-flash-attention's forward kernels (M4, 2024) and gpu-forge's.
A row's configuration and closed-form counts follow from the published kernel's generator; its
``pc_`` and ``ir_`` columns are counts of an equivalent written for counting.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from .scope import DIRECT, STAGED, Attention
from .work import Work

# Cycles of a matrix product within the column ir_main.
_COUNTED_PRODUCT_CYCLES = 17.5
_FRAGMENT_BYTES = 4 * 64
# Blank in a row whose kernel's instructions nobody counted.
_COUNTED = "ir_path_mid"
_WAYS = {"direct": DIRECT, "staged": STAGED, "load-only": STAGED}
_TABLE = (
    "sheet", "mode", "rev", "in_bytes", "s_bytes", "p_bytes", "o_mem_bytes", "cache", "note",
)  # fmt: skip

Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class TimedLaunch:
    """A launch whose time somebody measured.

    Attributes:
        work: What it does.
        attention: The problem.
        time_us: Measured.
    """

    work: Work
    attention: Attention
    time_us: float


@dataclass(frozen=True, eq=False)
class PublishedTime(TimedLaunch):
    """A published time beside what its kernel does.

    Attributes:
        name: Sheet and cell, or the kernel's name.
        table: The table it stands in: one sheet, kernel, precision and title.
        usable: Whether the clock had settled, so that the time may be compared with.
        row: All columns.
    """

    name: str
    table: tuple[str, ...]
    usable: bool
    row: Row

    @property
    def by_wall_clock(self) -> bool:
        """Whether the host's part is in the time."""
        return "(wall)" in self.name


def work_of_row(row: Row) -> tuple[Work, Attention] | None:
    """Read a row of the published files.

    Args:
        row: Columns by name, as text or numbers.

    Returns:
        What its launch does and computes, of which the closed forms are all that is known where
        nobody counted the kernel's instructions, as at a D that is no multiple of 8. None where
        there is neither, or what there is is not of the kernel that ran: an early revision at a D
        that its head block does not divide.
    """
    of_mfa = bool(row.get("mode"))
    if _number(row, "old_edge") or not _number(row, "mma" if of_mfa else _COUNTED):
        return None
    work = _mfa_work(row) if of_mfa else _scalar_work(row)
    return work, Attention(int(_number(row, "N")), int(_number(row, "D")), _way(row))


def _way(row: Row) -> str:
    mode = row.get("mode") or str(row.get("kernel", "no kernel"))
    return _WAYS.get(mode, mode)


def _mfa_work(row: Row) -> Work:
    products = _number(row, "mma")
    return Work(
        simdgroups=int(_number(row, "threads_per_tg")) // 32,
        matrix_products=products,
        barriers=_number(row, "barriers"),
        threadgroup_bytes=int(_number(row, "tg_alloc_bytes")),
        fragment_loads=_number(row, "dev_frag") + _number(row, "tg_frag_ld"),
        copy_bytes=1024 * _number(row, "async_kb_tg"),
        **(_counted(row, products) if _number(row, _COUNTED) else _closed_forms(row)),
    )


def _scalar_work(row: Row) -> Work:
    products = _number(row, "pc_matrix_operations")
    loaded = _number(row, "pc_device_load_bytes") + _number(row, "pc_threadgroup_load_bytes")
    return Work(
        simdgroups=int(_number(row, "simdgroups_per_tg")),
        matrix_products=products,
        barriers=_number(row, "pc_threadgroup_barriers"),
        threadgroup_bytes=int(_number(row, "tg_bytes")),
        fragment_loads=loaded / _FRAGMENT_BYTES,
        **_counted(row, products),
    )


def _counted(row: Row, products: float) -> dict[str, Any]:
    registers = math.ceil(_number(row, "pc_live_registers"))
    main = _number(row, "ir_main") - _COUNTED_PRODUCT_CYCLES * products
    return {
        "threadgroups": int(_number(row, "threadgroups")),
        "other_issue_cycles": main + _number(row, "ir_complex"),
        "float_operations": _number(row, "pc_float_operations"),
        "exponentials": _number(row, "pc_exponentials"),
        "cache_bytes": _number(row, "ir_cache_bytes"),
        "path_cycles": _number(row, "ir_path_mid"),
        "path_low_cycles": _number(row, "ir_path_lo"),
        "live_registers": registers,
        "registers_by_front_end": {"clang": registers},
        "code_instructions": math.ceil(_number(row, "pc_code_instructions")),
    }


def _closed_forms(row: Row) -> dict[str, Any]:
    """What follows from the published kernel's generator alone."""
    moved = ("dev_bytes", "tg_bytes_ld", "tg_bytes_st", "dev_st_bytes")
    return {
        "threadgroups": int(_number(row, "threadgroups")),
        "other_issue_cycles": 0.0,
        "float_operations": _number(row, "scalar_fp"),
        "exponentials": _number(row, "exp2"),
        "cache_bytes": sum(_number(row, name) for name in moved),
        "path_cycles": 0.0,
        "path_low_cycles": 0.0,
        "live_registers": math.ceil(_number(row, "live_regs")),
        "registers_by_front_end": {},
        "code_instructions": 0,
    }


def _number(row: Row, name: str) -> float:
    """A column's number; 0 where it is blank, which a table's reader may give as NaN."""
    value = float(row.get(name) or 0)
    return 0.0 if math.isnan(value) else value


@cache
def mfa_times() -> tuple[PublishedTime, ...]:
    """Forward kernels of metal-flash-attention on an M4, in the file's order."""
    return _times("m4_mfa_forward.csv")


@cache
def gpu_forge_times() -> tuple[PublishedTime, ...]:
    """gpu-forge's kernels on an M4, in the file's order."""
    return _times("m4_gpu_forge.csv")


def _times(file: str) -> tuple[PublishedTime, ...]:
    text = (resources.files("attnproto") / "data" / file).read_text("utf-8")
    times = []
    for row in csv.DictReader(text.splitlines()):
        read = work_of_row(row)
        if read is None:
            continue
        times.append(
            PublishedTime(
                *read,
                float(row["time_us"]),
                row.get("id") or f"{row['kernel']} N={row['N']}",
                tuple(row.get(name) or "" for name in _TABLE),
                row.get("usable", "1") == "1",
                row,
            )
        )
    return tuple(times)

"""What a result was made with: machine, system, versions, power."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np


def _output(*command: str, folder: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=5, cwd=folder, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _power() -> str:
    supplies = sorted(Path("/sys/class/power_supply").glob("*/online"))
    if not supplies:
        return "unknown"
    return "mains" if any(supply.read_text().strip() == "1" for supply in supplies) else "battery"


def _commit() -> str:
    here = Path(__file__).resolve().parent
    commit = _output("git", "rev-parse", "--short=12", "HEAD", folder=here)
    if not commit:
        return "unknown"
    changed = _output("git", "status", "--porcelain", "--untracked-files=no", folder=here)
    return commit + ("+changes" if changed else "")


def describe() -> dict[str, str | int]:
    """Collect what is known about machine and software; unknown things say so.

    Returns:
        Plain values: system, machine, cores, python, numpy, commit, power. What changes while a
        sweep runs is in each row's result, from ``Device.conditions``.
    """
    system = platform.platform(terse=True)
    if sys.platform == "darwin":
        # Python's own answer is that of the system it was built for.
        system = f"macOS {_output('sysctl', '-n', 'kern.osproductversion')}"
    return {
        "system": system,
        "machine": platform.machine(),
        "cores": os.cpu_count() or 0,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "commit": _commit(),
        "power": _power(),
    }

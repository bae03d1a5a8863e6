"""The engines that run a kernel on the cpu device."""

from __future__ import annotations

CPU_ENGINES = ("lockstep", "fibers")  # the first is the default

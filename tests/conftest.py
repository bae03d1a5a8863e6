"""What all tests share."""

from __future__ import annotations

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # Compiled kernels of a test run stay in the checkout, where `make clean` finds them.
    os.environ.setdefault("ATTNPROTO_CACHE_DIR", str(config.rootpath / "build" / "cache"))

"""What all tests share."""

from __future__ import annotations

import os

import attnproto
import pytest
from attnproto.device.discovery import cpu_threads

# Their assertions show what was compared, as those of a test file do.
pytest.register_assert_rewrite("support")


def pytest_configure(config: pytest.Config) -> None:
    # Compiled kernels of a test run stay in the checkout, where `make clean` finds them.
    os.environ.setdefault("ATTNPROTO_CACHE_DIR", str(config.rootpath / "build" / "cache"))


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which is not everywhere
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many as there are cores, and one where tests share a GPU: they must not meet on it."""
    summaries = attnproto.devices()
    if any(one.available for one in summaries if one.kind != "cpu"):
        return 1
    return cpu_threads()

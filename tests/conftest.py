"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import attnproto
import pytest
from attnproto.device import discovery
from attnproto.device.discovery import cpu_threads
from metal_double.left_out import NEVER_METAL

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


@pytest.fixture(scope="module", autouse=True)
def _metal_only_where_it_is_tested(request: pytest.FixtureRequest) -> Iterator[None]:
    """A file that the double does not run has no test that would ask it anything."""
    if request.path.name not in NEVER_METAL:
        yield
        return
    opened = discovery._opened

    def asked(kind: str, *rest: Any) -> Any:
        if kind == "metal":
            pytest.fail(f"{request.path.name} asks for Metal: take it out of NEVER_METAL")
        return opened(kind, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discovery, "_opened", asked)
        yield

"""Pytest plugin: the whole suite runs on the Metal device, kernels on the cpu device.

``pytest -p metal_double.plugin`` with ``tests`` on the path and a module built with
``ATTNPROTO_METAL_DOUBLE``. After every test no rule of Metal's may have been broken.
"""

from __future__ import annotations

import gc
import re

import pytest
from attnproto import _core
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device import discovery


@pytest.fixture(scope="session", autouse=True)
def _kernels_on_the_cpu():
    _core.metal_double.use(_core.open_cpu(NativeFrontEnd(), discovery.cpu_threads()))
    yield
    _core.metal_double.use(None)
    discovery._opened.__wrapped__.cache_clear()
    gc.collect()


_suspicious: set[str] = set()


@pytest.fixture(autouse=True)
def _no_rule_broken():
    _core.metal_double.reset()
    yield
    broken = _core.metal_double.violations()
    _suspicious.update(re.sub(r"#\d+", "", text) for text in _core.metal_double.warnings())
    _core.metal_double.hold(False)
    _core.metal_double.reset()
    assert not broken, "rules of Metal's were broken"


def pytest_terminal_summary(terminalreporter):
    """List what Metal allows and leaves undefined, such as one buffer as two arguments."""
    for text in sorted(_suspicious):
        terminalreporter.write_line(f"legal and suspicious: {text}")

"""Pytest plugin: the suite runs on the Metal device, kernels on the cpu device.

``pytest -p metal_double.plugin`` with ``tests`` on the path and a module built with
``ATTNPROTO_METAL_DOUBLE``. After every test no rule of Metal's may have been broken.

Tests that would not ask the double anything are left to the cpu device alone: left_out.py
names them. A new file runs on both.
"""

from __future__ import annotations

import gc
import re

import pytest
from attnproto import _core
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device import discovery
from metal_double.left_out import left_to_cpu


def pytest_collection_modifyitems(config, items):
    """Leave out, and count as deselected, what is left to the cpu device."""
    config.hook.pytest_deselected(items=[item for item in items if left_to_cpu(item.path)])
    items[:] = [item for item in items if not left_to_cpu(item.path)]


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

"""Print what the package and one of its extras need, a requirement a line, from pyproject.toml.

Run: python tools/requirements.py EXTRA
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    from pip._vendor import tomli as tomllib


def requirements(project: dict, extra: str) -> list[str]:
    """Requirements that hold on this machine; those of extras that an extra names, too."""
    extras = project["optional-dependencies"]
    needed: list[str] = []
    todo = [*project["dependencies"], *extras[extra]]
    while todo:
        text = todo.pop(0)
        own = re.fullmatch(rf"{project['name']}\[([\w,]+)\]", text)
        if own:
            todo += [inner for name in own[1].split(",") for inner in extras[name]]
            continue
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate():
            extras_of = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            needed.append(f"{requirement.name}{extras_of}{requirement.specifier}")
    return needed


if __name__ == "__main__":
    pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
    print("\n".join(requirements(tomllib.loads(pyproject.read_text())["project"], sys.argv[1])))

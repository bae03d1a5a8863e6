"""Packages that others published, fetched for the tests and never committed.

Each is pinned to a version and a hash, which is checked before anything in it is read.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from attnproto.compiler import object_cache

_FOR_MAC = ("--only-binary=:all:", "--platform", "macosx_15_0_arm64", "--python-version", "3.12")
_SOURCE = ("--no-binary=:all:",)
_ANY_WHEEL = ("--only-binary=:all:",)


class FetchError(Exception):
    """A package could not be had, or is not the pinned one."""


@dataclass(frozen=True)
class Package:
    """A file of a package index.

    Args:
        name: of the package.
        version: the pinned one.
        file: what the index calls it.
        sha256: of the file.
        options: for pip; None: a crate, which cargo fetches.
    """

    name: str
    version: str
    file: str
    sha256: str
    options: Sequence[str] | None

    def fetch(self) -> Path:
        """The file, from the cache or downloaded once.

        Raises:
            FetchError: it could not be had, or is not the pinned one, and then is removed.
        """
        place = object_cache.folder() / "third-party" / self.file
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            scratch = tempfile.TemporaryDirectory(dir=place.parent)
            with object_cache.making(self.sha256), scratch as folder:
                if not place.exists():  # still, where another process fetched it meanwhile
                    os.replace(self._download(Path(folder)), place)
        digest = hashlib.sha256(place.read_bytes()).hexdigest()
        if digest != self.sha256:
            place.unlink()
            raise FetchError(
                f"{self.file} has SHA-256 {digest}, needs {self.sha256}; it was removed"
            )
        return place

    def need(self) -> None:
        """Skip the test where the package can't be had; in CI it must be."""
        try:
            self.fetch()
        except FetchError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"{self.name} could not be fetched: {error}")

    def read(self, inside: str) -> dict[str, str]:
        """The texts of a folder of the package, by their paths in it.

        Args:
            inside: how the paths begin, without the folder that a source package has outside.
        """
        place = self.fetch()
        if place.suffix == ".whl":
            with zipfile.ZipFile(place) as archive:
                names = [n for n in archive.namelist() if n.startswith(inside)]
                return {n.removeprefix(inside): archive.read(n).decode() for n in names}
        outer = f"{self.name.replace('-', '_') if self.options else self.name}-{self.version}/"
        texts = {}
        with tarfile.open(place) as archive:
            for member in archive:
                if member.isfile() and member.name.startswith(outer + inside):
                    content = archive.extractfile(member).read()
                    texts[member.name.removeprefix(outer + inside)] = content.decode()
        return texts

    def unpack(self) -> Path:
        """The folder of a wheel's files, beside the wheel."""
        place = self.fetch()
        folder = place.with_suffix("")
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
                files = Path(scratch) / "files"
                with zipfile.ZipFile(place) as archive:
                    archive.extractall(files)
                os.replace(files, folder)
        return folder

    def _download(self, folder: Path) -> Path:
        if self.options is None:
            return self._download_crate(folder)
        # pip checks the hash before it builds anything of a source package.
        requirement = folder / "requirements.txt"
        requirement.write_text(f"{self.name}=={self.version} --hash=sha256:{self.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += [*self.options, "--require-hashes", "--dest", str(folder)]
        self._run([*command, "--requirement", str(requirement)], {})
        return folder / self.file

    def _download_crate(self, folder: Path) -> Path:
        # To tell of one crate cargo fetches that and none that it depends on.
        home = {"CARGO_HOME": str(folder)}
        self._run(["cargo", "info", "--quiet", f"{self.name}@{self.version}"], home)
        places = list(folder.glob(f"registry/cache/*/{self.file}"))
        if not places:
            raise FetchError(f"cargo left no {self.file}; it needs cargo 1.82 or later")
        return places[0]

    def _run(self, command: list[str], environment: dict[str, str]) -> None:
        what = f"{self.name} {self.version}"
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env={**os.environ, **environment}
            )
        except FileNotFoundError:
            raise FetchError(f"{command[0]} is not here, which fetches {what}") from None
        if done.returncode:
            raise FetchError(f"{command[0]} could not fetch {what}: {done.stderr[-300:]}")


def _wheel(name: str, version: str, sha256: str) -> Package:
    file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    return Package(name, version, file, sha256, _ANY_WHEEL)


def _crate(name: str, version: str, sha256: str) -> Package:
    return Package(name, version, f"{name}-{version}.crate", sha256, None)


MLX = Package(
    "mlx-metal", "0.32.4", "mlx_metal-0.32.4-py3-none-macosx_15_0_arm64.whl",
    "9f0a3cc26d89724434d9684932fc6f3e4e83669d2a895d858ed2c8a55eb84e8b", _FOR_MAC,
)  # fmt: skip
GGML = Package(
    "llama-cpp-python", "0.3.36", "llama_cpp_python-0.3.36.tar.gz",
    "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e", _SOURCE,
)  # fmt: skip
GGML_ONE_TEXT = Package(
    "llama-cpp-python", "0.3.30", "llama_cpp_python-0.3.30.tar.gz",
    "798c9b42652d2e0bff5fe81e7e762089f425a99e67f66ffe5ae156957876e0d1", _SOURCE,
)  # fmt: skip
CANDLE = _crate(
    "candle-metal-kernels",
    "0.11.1",
    "6e9fdf9f3fb13fb677fec22802f85515e4bdf9a2b8fa153efb5454eced755932",
)
MISTRAL = _crate(
    "mistralrs-paged-attn",
    "0.8.1",
    "6e53ddf1537426997b46abdadbe6ca8a7ce7668004ed2b7cf00115016558bae8",
)
TINYGRAD = _wheel(
    "tinygrad", "0.14.0", "d2a5bea33c637fdf105963632329876b3d3253d38295ac1ffd2ff81646d93be3"
)
CARMEN = _wheel(
    "carmen-kernels", "0.2.0", "d71daf03cb2dc5653c070315b755a07f1f50be85410ce8741d682aedecab64db"
)
MAXSIM = _wheel(
    "late-interaction-kernels",
    "0.4.5",
    "ccb09faf2bb4a48a56ced3aaccf63f4616d64f58038e23d4a09c0300a52e5b34",
)

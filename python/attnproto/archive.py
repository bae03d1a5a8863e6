"""Compiled pipelines in one file: the public name of :mod:`attnproto.device.archive`."""

from .device.archive import Archive, Builder, build, collecting, identity, load, load_or_build, use

__all__ = ["Archive", "Builder", "build", "collecting", "identity", "load", "load_or_build", "use"]

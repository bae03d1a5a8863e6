"""A launch of a seed: shapes, types and bindings that somebody may pass, most of them wrong."""

from __future__ import annotations

import random
from functools import cache

import attnproto
import ml_dtypes
import numpy as np
from attnproto.device.device import Device, Dispatch
from attnproto.device.library import Pipeline

from .fuzzing import refusing
from .msl import read_text

# All but the first touch no memory, so that any launch of them may run without validation.
TEXT = read_text("launches.metal")
FEW = (1, 2, 3, 31, 32, 33, 1024)
AXES = (*FEW, 0, 1025, 4096, 2**16, 2**22, 2**31, 2**32 - 1, 2**32, 2**64, -1)
ODD = (None, 1.5, True, "x", b"", [], (1, 2, 3, 4), np.nan, np.int64(3), np.array([2, 1]), object())
TYPES = (
    "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u4", "u8", "?", "c8", "c16", ">f4", ">i2", "O",
    "M8[s]", "S3", "U2", "V4", "f4,i4", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn,
)  # fmt: skip
# What each kernel reads, by index, and its threadgroup memory.
RIGHT = {
    "doubles": ({0: "f4", 1: "u4"}, {}),
    "nothing": ({0: "f2", 3: "i4", 30: "i4"}, {0: 256}),
    "structs": ({0: "f4,i4,i4,i4", 1: "u1"}, {3: 16}),
}


@cache
def devices() -> tuple[tuple[Device, dict[str, Pipeline]], ...]:
    """The ways to run, each with its pipelines."""
    ways = ({"validate": True}, {"engine": "lockstep", "validate": False},
            {"engine": "fibers", "validate": False})  # fmt: skip
    opened = [attnproto.open_device("cpu", time_limit_s=0.2, **way) for way in ways]
    return tuple(
        (one, {name: library.pipeline(name) for name in library.functions()})
        for one in opened
        for library in [one.library(TEXT)]
    )


class Launcher:
    """Draws launches: right ones, with none, one or a few of their parts drawn from anything."""

    def __init__(self, seed: int):
        self.random, self.rng = random.Random(seed), np.random.default_rng(seed)

    def axes(self, sizes: tuple[int, ...]) -> object:
        """A size on one to three axes."""
        drawn = [self.random.choice(sizes) for _ in range(3)]
        return self.random.choice((drawn[0], (drawn[0],), tuple(drawn[:2]), tuple(drawn)))

    def array(self, dtype: object) -> np.ndarray:
        """Numbers of a type, in any shape."""
        shape = self.random.choice(((), (0,), (1,), (7,), (64,), (1000,), (3, 4), (2, 0, 3)))
        try:
            return self.rng.integers(0, 9, shape).astype(dtype)
        except (TypeError, ValueError):
            return np.zeros(shape, dtype)

    def odd(self, device: Device) -> object:
        """Anything that may be bound."""
        array = self.array(np.dtype(self.random.choice(TYPES)))
        aside = np.frombuffer(bytearray(array.nbytes + 1), np.uint8)[1:]  # on an odd address
        small = np.empty((2, 4), np.float32)
        return self.random.choice((
            array, array, array, aside, small[:, ::2], small.T, np.asfortranarray(array),
            np.broadcast_to(array, (3, *array.shape)), np.ma.masked_array(array), bytearray(8),
            np.asmatrix(small), memoryview(b"12345678")[::2], np.float32(2), array.tobytes(),
            device.buffer(self.random.choice((0, 1, 4, 255, 4096))), self.random.choice(ODD),
        ))  # fmt: skip

    def launch(self, device: Device, pipelines: dict[str, Pipeline], name: str) -> Dispatch:
        """A dispatch."""
        chance, (types, room) = self.random, RIGHT[name]
        parts = {
            "pipeline": pipelines[name], "threadgroups": self.axes(FEW[:4]),
            "threads": chance.choice((1, 31, 32, (32, 2), (8, 4, 2), 1024)),
            "buffers": {i: np.ones((chance.choice((4, 64)), 4), of) for i, of in types.items()},
            "threadgroup_bytes": dict(room),
        }  # fmt: skip
        for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
            self.change(parts, device, types)
        return Dispatch(**parts)

    def change(self, parts: dict, device: Device, types: dict[int, str]) -> None:
        """Change one part."""
        chance = self.random
        way = chance.randint(0, 8)
        if way == 0:
            parts[chance.choice(("threadgroups", "threads", "grid"))] = self.axes(AXES)
        elif way == 1:
            parts[chance.choice((*parts, "grid", "view", "barrier_before"))] = chance.choice(ODD)
        elif way == 2:
            parts["view"] = chance.choice(([0], range(31), {1, 3}, [99], ["0"]))
        elif way == 3:
            parts["grid"] = self.axes(FEW)
        elif way == 4:
            parts["threadgroup_bytes"] = {
                chance.choice((0, 3, 30, 31, -1)): chance.choice(
                    (0, 1, 16, 17, 2**15, 2**15 + 16, 2**32, -16, 1.5)
                )
            }
        elif isinstance(parts["buffers"], dict):
            index = chance.choice((*types, *types, 2, 29, 31, -1, 2**40, "0", None))
            parts["buffers"][index] = self.odd(device)
            if way == 5:
                parts["buffers"].pop(chance.choice(list(parts["buffers"])))


def attempt(seed: int) -> None:
    """Several launches on each device, refused or run; a right one gives what is right after it."""
    for number, (device, pipelines) in enumerate(devices()):
        launcher = Launcher(seed * 4 + number)
        names = [name for name in RIGHT if number == 0 or name != "doubles"]
        for _ in range(8):
            with refusing():
                dispatches = [
                    launcher.launch(device, pipelines, launcher.random.choice(names))
                    for _ in range(launcher.random.choice((1, 1, 1, 2, 3)))
                ]
                options = {}
                if launcher.random.random() < 0.1:
                    option = launcher.random.choice(("concurrent", "time_each", "time_limit_s"))
                    options[option] = launcher.random.choice((True, False, *ODD))
                device.submit(dispatches, **options)
        check_right(device, pipelines["doubles"], launcher.random.randint(1, 300))


def check_right(device: Device, doubles: Pipeline, n: int) -> None:
    """The device works on."""
    x = np.arange(n + 3, dtype=np.float32)
    device.run(doubles, threadgroups=-(-n // 32), threads=32, buffers={0: x, 1: np.uint32(n)})
    expected = np.arange(n + 3) * np.where(np.arange(n + 3) < n, 2, 1)
    if not np.array_equal(x, expected):
        raise ValueError(f"{n} numbers doubled are {x}")

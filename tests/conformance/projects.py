"""All projects, and what a run that is asked for no more tries of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from . import (
    candle_cases,
    carmen,
    carmen_cases,
    ggml_attention,
    ggml_cases,
    maxsim_cases,
    mistral_cases,
    mlx_cases,
    texts,
    tinygrad_operations,
)
from .case import Case
from .texts import Text


@dataclass(frozen=True)
class Project:
    """Where a project's kernels are, and which of them are run."""

    texts: Callable[[], Iterator[Text]]
    cases: Callable[[], Iterable[Case]] = tuple


PROJECTS = {
    "ggml": Project(
        texts.ggml, lambda: itertools.chain(ggml_cases.cases(), ggml_attention.cases())
    ),
    "ggml, one text": Project(texts.ggml_one_text),
    "candle": Project(texts.candle, candle_cases.cases),
    "mistral.rs": Project(texts.mistral, mistral_cases.cases),
    "tinygrad": Project(tinygrad_operations.texts, tinygrad_operations.cases),
    "MLX": Project(texts.mlx_texts, mlx_cases.cases),
    "late-interaction": Project(texts.maxsim, maxsim_cases.cases),
    "carmen": Project(carmen.texts, carmen_cases.cases),
}
# One kernel of so many is tried where trying all takes hours.
SHARES = {"ggml": 24, "ggml, one text": 40, "candle": 24, "mistral.rs": 40, "MLX": 10}

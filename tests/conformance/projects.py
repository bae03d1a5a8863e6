"""All projects, and what a run that is asked for no more tries of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import carmen, texts, tinygrad_operations
from .texts import Text

PROJECTS: dict[str, Callable[[], Iterator[Text]]] = {
    "ggml": texts.ggml,
    "ggml, one text": texts.ggml_one_text,
    "candle": texts.candle,
    "mistral.rs": texts.mistral,
    "tinygrad": tinygrad_operations.texts,
    "MLX": texts.mlx_texts,
    "late-interaction": texts.maxsim,
    "carmen": carmen.texts,
}
# One kernel of so many is tried where trying all takes hours.
SHARES = {"ggml": 24, "ggml, one text": 40, "candle": 24, "mistral.rs": 40, "MLX": 10}

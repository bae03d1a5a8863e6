"""Caps, biases and masks on a stored score matrix, beside the same rule fused into flash."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from attnproto.device.discovery import opened
from attnproto.device.pipelines import pipeline
from attnproto.dtypes import BY_NUMPY
from attnproto.errors import UnsupportedProblem

from .flash import FlashProblem, check_tokens, pack_params
from .flash_tile import dtype_name
from .flash_variant import Variant
from .text import TemplateArgument, instantiate

if TYPE_CHECKING:
    from attnproto.device.device import Device, Timing

THREADS = 64


def launch_scores(scores: np.ndarray, variant: Variant, *, device: Device) -> Timing:
    """Shape scores in place and return the dispatch's timing.

    Args:
        scores: [B, Hq, Nq, Nkv], already scaled; contiguous and writable; float16, float32 or
            bfloat16. Masked scores become minus infinity.
        variant: cap, bias and masks; its rope is no concern of scores and is ignored.
        device: an open device.

    Returns:
        The device's Timing.

    Raises:
        UnsupportedProblem: a shape or type the kernel does not shape.
    """
    fits = isinstance(scores, np.ndarray) and scores.ndim == 4 and 0 not in scores.shape
    if not fits or not (scores.flags.c_contiguous and scores.flags.writeable):
        raise UnsupportedProblem(
            f"[score_mod.launch] found scores of shape "
            f"{getattr(scores, 'shape', type(scores).__name__)}, needs a contiguous, writable "
            "numpy array of rank 4 with no empty dimension; pass [batch, heads, queries, keys]"
        )
    b, hq, nq, nkv = scores.shape
    check_tokens(max(nq, nkv))
    name = dtype_name(scores.dtype)
    variant = replace(variant, rope=None)
    problem = FlashProblem(b, hq, hq, nq, nkv, 8, name, 1.0, variant)
    argument = TemplateArgument(BY_NUMPY[name].msl, BY_NUMPY[name].msl)
    source = instantiate("score_mod/score_mod.metal", "shape_scores", (argument,))
    return device.run(
        pipeline(device, source, variant.constants),
        threadgroups=(-(-nkv // (2 * THREADS)), nq, b * hq),
        threads=(THREADS, 1, 1),
        buffers={0: scores, 1: pack_params(problem)},
    )


def shape_scores(
    scores: np.ndarray, variant: Variant, *, device: Device | str | None = None
) -> np.ndarray:
    """Return scores after cap, ALiBi and masks.

    Args:
        scores: [B, Hq, Nq, Nkv], already scaled, float16, float32 or bfloat16.
        variant: what to do to them.
        device: an open device or the name of one; ``auto`` when None.

    Returns:
        The shape and type of the scores; masked ones are minus infinity.

    Raises:
        UnsupportedProblem: a shape or type the kernel does not shape.
        DeviceUnavailable: the device is not on this machine.

    Source:
        Press et al., "ALiBi", 2022 (arXiv 2108.12409), section 3.

    Examples:
        >>> shape_scores(np.zeros((1, 1, 2, 2), np.float32), Variant(alibi=True))[0, 0, 1, 0]
        np.float32(-0.00390625)
    """
    shaped = np.array(scores, order="C")
    launch_scores(shaped, variant, device=opened(device))
    return shaped

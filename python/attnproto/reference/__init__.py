"""FP64 truth for every kernel, short and slow on purpose."""

from .linear import linear_attention, linear_attention_recurrent
from .paged import gather_pages, paged_attention
from .position import alibi_bias, alibi_slopes, rope
from .softmax import softmax_attention
from .tolerance import Judgement, Tolerance, judge, tolerance

__all__ = [
    "Judgement",
    "Tolerance",
    "alibi_bias",
    "alibi_slopes",
    "gather_pages",
    "judge",
    "linear_attention",
    "linear_attention_recurrent",
    "paged_attention",
    "rope",
    "softmax_attention",
    "tolerance",
]

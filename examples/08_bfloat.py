"""bfloat16: numpy has no such type, ml_dtypes brings it, kernels take it as it is."""

import attnproto
import ml_dtypes
import numpy as np


def main() -> None:
    """Attend in three types and see what each costs in accuracy."""
    random = np.random.default_rng(0)
    q, k, v = (random.standard_normal((1, 4, 100, 64)) for _ in range(3))
    scores = q @ k.transpose(0, 1, 3, 2) / 8
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    truth = weights / weights.sum(-1, keepdims=True) @ v
    errors = {}
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        tensors = (x.astype(dtype) for x in (q, k, v))
        out = attnproto.flash_attention(*tensors).astype(np.float64)
        errors[np.dtype(dtype).name] = np.abs(out - truth).max()
        print(f"{np.dtype(dtype).name:10} worst error {errors[np.dtype(dtype).name]:.1e}")
    assert errors["float32"] < errors["float16"] < errors["bfloat16"] < 0.05


if __name__ == "__main__":
    main()

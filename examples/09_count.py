"""What a kernel does, counted: the same on any device, because it follows from the code."""

import attnproto
import numpy as np


def main() -> None:
    """Count two tiles of flash attention on one problem."""
    q = np.zeros((1, 2, 256, 64), np.float16)
    k = np.zeros((1, 1, 512, 64), np.float16)
    names = ("matrix_operations", "exponentials", "device_load_bytes", "threadgroup_barriers")
    print(f"{'(Br, Bc)':12}" + "".join(f"{name:>22}" for name in names) + f"{'registers':>12}")
    loads = []
    for tile in ((8, 64), (32, 64)):
        counts = attnproto.count(
            lambda device, tile=tile: attnproto.flash_attention(q, k, k, tile=tile, device=device)
        )
        row = "".join(f"{getattr(counts, name):22,}" for name in names)
        print(f"{tile!s:12}{row}{counts.live_registers:12}")
        loads.append(counts.unique_load_bytes)
        # Two products of 8 x 8 x 8 for every 8 x 8 scores and 8 dimensions, counted in each lane.
        assert counts.matrix_operations == 32 * 2 * (2 * 256 // 8) * (512 // 8) * (64 // 8)
    assert loads[0] == loads[1]
    print("both read the same memory; how often each byte is read is what the tile decides")


if __name__ == "__main__":
    main()

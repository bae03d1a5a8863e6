"""Products of fragments as NVIDIA's mma instructions."""

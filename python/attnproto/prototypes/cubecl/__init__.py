"""Prototype 5: the MSL that CubeCL generates."""

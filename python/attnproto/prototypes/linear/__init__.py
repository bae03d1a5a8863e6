"""Prototype 6: linear attention and the crossover."""

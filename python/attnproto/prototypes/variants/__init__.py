"""Prototype 7: RoPE, ALiBi and GQA."""

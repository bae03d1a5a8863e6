"""Prototype 4: function-constant variants, compiled and archived."""

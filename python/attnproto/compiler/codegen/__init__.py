"""From IR to machine code, and the files that keep it."""

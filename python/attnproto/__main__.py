"""``python -m attnproto``."""

from .cli import main

main()

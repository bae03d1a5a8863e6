"""What a kernel is compiled for, and the passes it takes there."""

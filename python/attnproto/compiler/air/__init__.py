"""Apple's compiled kernels: the container, the modules in it, and their way to our passes."""

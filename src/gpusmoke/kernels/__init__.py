"""Matrix products by CUDA kernels of the kit's own, which the environment's nvcc builds for the present GPU."""

"""Launch files for accelerate, DeepSpeed, Slurm, Ray and Docker: configuration, no logic."""

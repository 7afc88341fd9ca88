"""MLX in a child process of our own: mlx-lm's batch generation behind a small server that speaks as llama.cpp's does.

Nothing is imported here. Only `python -m lanhaven.engines.mlx.worker` imports mlx, and only there it need be installed;
what the worker imports of ours needs the standard library and httptools.
"""

"""MLX in child processes of our own."""

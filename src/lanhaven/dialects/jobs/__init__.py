"""Chat inference jobs, /api/v1/ai."""

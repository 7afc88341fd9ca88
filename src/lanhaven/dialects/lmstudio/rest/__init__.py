"""LM Studio's REST APIs, /api/v0 and /api/v1."""

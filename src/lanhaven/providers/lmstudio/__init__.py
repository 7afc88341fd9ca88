"""LM Studio, driven through its own protocol."""

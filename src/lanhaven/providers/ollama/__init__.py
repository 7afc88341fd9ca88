"""Ollama, on this machine or others."""

"""Servers that speak OpenAI, at fixed addresses."""

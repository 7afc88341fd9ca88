"""LM Studio's WebSocket protocol, which its SDKs speak."""

"""LM Studio's APIs: REST and WebSocket."""

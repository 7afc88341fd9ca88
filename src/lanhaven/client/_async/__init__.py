"""The client with await. `scripts/unasync` makes `_sync` of it."""

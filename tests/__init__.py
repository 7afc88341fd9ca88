"""Tests mirror src/lanhaven; shared pieces are imported as tests.<name>."""

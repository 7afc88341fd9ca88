"""What went through the server, kept: a row for each request and roll-ups of them; no prompt, answer or key."""

from lanhaven.history.history import History, HistoryLimits

__all__ = ["History", "HistoryLimits"]

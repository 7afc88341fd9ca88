# Made of _async/__init__.py by scripts/unasync: change that file.
"""The client without await."""

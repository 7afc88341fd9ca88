"""Engines: the programs that compute, each a child process of its own.

Nothing is imported here: a child starts by importing this package, and should be ready in a tenth of a second.
"""

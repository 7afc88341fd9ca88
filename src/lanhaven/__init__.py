"""LanHaven: the language models of a LAN behind one well-behaved server."""

__all__ = ["__version__"]

__version__ = "0.1.0"

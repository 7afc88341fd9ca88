"""Connecting apps to this server: one recipe an app, in one table (`table.RECIPES`)."""

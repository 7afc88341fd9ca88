"""The recipes, a file for each app or family of apps."""

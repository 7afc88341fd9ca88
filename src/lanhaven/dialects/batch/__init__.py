"""Many requests at once: in one call, and in files."""

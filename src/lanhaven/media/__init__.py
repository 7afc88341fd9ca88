"""Images of a request: found, checked, read in a process of their own, and made small enough for a model."""

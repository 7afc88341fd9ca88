"""Model files: what their headers say, what a loaded model will need, and how to write one."""

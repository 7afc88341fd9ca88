"""The command line, run as the process that users run."""

"""`python -m lanhaven`."""

from lanhaven.cli import main

if __name__ == "__main__":
    main()

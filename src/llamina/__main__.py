"""`python -m llamina` is the command `llamina`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

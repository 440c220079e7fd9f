"""`python -m vocjax` is `vocjax`."""

import sys

from vocjax.cli import main

if __name__ == "__main__":
    sys.exit(main())

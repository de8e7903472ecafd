"""``python -m irrepnet``: the same as the command ``irrepnet``."""

import sys

from irrepnet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

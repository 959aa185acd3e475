"""`python -m gpusmoke`: the same as the `gpusmoke` command."""

import sys

from gpusmoke.cli import main

if __name__ == "__main__":
    sys.exit(main())

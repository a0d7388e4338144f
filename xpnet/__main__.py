"""``python -m xpnet``: the ``xpnet`` command."""

from __future__ import annotations

import sys

from xpnet.cli import main

if __name__ == "__main__":
    sys.exit(main())

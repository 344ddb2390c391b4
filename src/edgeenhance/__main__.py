"""`python -m edgeenhance`: the same as the command `edgeenhance`."""

import sys

from .cli import main

sys.exit(main())

"""``python -m mcore``."""

import sys

from mcore.cli import main

sys.exit(main())

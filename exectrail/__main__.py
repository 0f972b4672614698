"""`python -m exectrail`."""

import sys

from exectrail.cli import main

sys.exit(main())

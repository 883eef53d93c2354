"""`python -m paqa`: the command `paqa`."""

import sys

from paqa.cli.main import main

sys.exit(main())

"""`python -m ops`: the operator's command line."""

from __future__ import annotations

import sys
from pathlib import Path

# The functions' own package, used here for its ledger, its ports and its pipelines.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "functions"))

if __name__ == "__main__":
    from ops.cli import main

    sys.exit(main())

"""Lets the tests of this folder share `model_worlds` (tests are imported by file, so folders are not on the path)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

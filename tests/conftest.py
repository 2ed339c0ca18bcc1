"""Fixtures and settings that the tests of all packages share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

"""Tests here share ``toy_job``, which is also a program and what Ray's workers import."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

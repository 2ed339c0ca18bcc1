"""Commands for people and the libraries behind them. Only benchmarks and tests import this package."""

import os

# Before the libraries are imported, which is when they say objects that concern no one here.
for _name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
    os.environ.setdefault(_name, "error")

"""Parts that fuzz tests share: how many cases, how long one may take, and how files are damaged."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

NUM_CASES = int(os.environ.get("FUZZ_CASES", "200"))
TIME_LIMIT_S = 10.0

fuzzed = settings(
    max_examples=NUM_CASES,
    deadline=None,
    derandomize="FUZZ_CASES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
    database=None,
)

few_fuzzed = settings(fuzzed, max_examples=NUM_CASES if "FUZZ_CASES" in os.environ else 40)
"""The same for slower cases."""


@contextmanager
def time_limit(seconds: float = TIME_LIMIT_S) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError(f"longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def damaged(data: st.DataObject, content: bytes) -> bytes:
    """Some bytes changed, removed, doubled or put in; or the end cut off."""
    broken = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(len(broken) - 1, 0)))
        length = data.draw(st.integers(1, 16))
        match data.draw(st.sampled_from(("set", "flip", "remove", "double", "insert", "cut"))):
            case "set":
                broken[place : place + 1] = bytes([data.draw(st.integers(0, 255))])
            case "flip":
                broken[place : place + 1] = bytes(b ^ (1 << (length % 8)) for b in broken[place : place + 1])
            case "remove":
                del broken[place : place + length]
            case "double":
                broken[place:place] = broken[place : place + length]
            case "insert":
                broken[place:place] = data.draw(st.binary(max_size=16))
            case "cut":
                del broken[place:]
    return bytes(broken)

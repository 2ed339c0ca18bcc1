"""Real queries are read as a person reads them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.hand_checked import compared
from generation import parse
from generation.attributes import AttributeParser

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "real"


def test_the_fingerprint_of_reading_covers_every_module_that_reads() -> None:
    room, found = Path(parse.__file__).parent, {"attributes", "prompt"}
    waiting = sorted(found)
    while waiting:
        names = set(
            re.findall(r"^from generation(?:\.| import )(\w+)", (room / f"{waiting.pop()}.py").read_text(), re.M)
        )
        waiting += names - found
        found |= names
    assert sorted(parse._READING) == sorted(found - {"errors"})


@pytest.mark.parametrize(("what", "least"), [("head", 0.97), ("colours", 0.97), ("location", 0.97), ("prompt", 0.95)])
def test_real_queries_are_read_as_a_person_read_them(parser: AttributeParser, what: str, least: float) -> None:
    if not (REAL / "transvg").is_dir():
        pytest.skip("the real validation queries are not at hand")
    checked = compared(parser, REAL)
    assert len(checked) == 600
    wrong = [(one.query, mistakes[what]) for one, mistakes in checked if what in mistakes]
    assert 1 - len(wrong) / len(checked) >= least, wrong

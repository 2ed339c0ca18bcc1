"""Real queries are read as a person reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.hand_checked import check_parser
from generation.parsing.attributes import AttributeParser

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "real"


@pytest.mark.parametrize(("what", "least"), [("head", 0.97), ("colors", 0.97), ("location", 0.97), ("prompt", 0.95)])
def test_real_queries_are_read_as_a_person_read_them(parser: AttributeParser, what: str, least: float) -> None:
    if not (REAL / "transvg").is_dir():
        pytest.skip("the real validation queries are not at hand")
    checked = check_parser(parser, REAL)
    assert len(checked) == 600
    wrong = [(one.query, mistakes[what]) for one, mistakes in checked if what in mistakes]
    assert 1 - len(wrong) / len(checked) >= least, wrong

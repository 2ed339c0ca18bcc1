from __future__ import annotations

from workflows.reports.distractors import get_distractor_group


def test_distractors_are_grouped_as_none_one_few_many_and_unknown() -> None:
    assert [get_distractor_group(n) for n in (0, 1, 2, 3, 4, 9, None)] == [
        "0",
        "1",
        "2-3",
        "2-3",
        "4+",
        "4+",
        "unknown",
    ]

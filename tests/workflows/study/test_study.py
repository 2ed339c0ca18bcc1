from __future__ import annotations

import pytest

from workflows.cli.console import UserError
from workflows.study.__main__ import StudyConfig


def test_a_study_that_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown variants \['magic'\]; choose from base"):
        StudyConfig(variants=("magic",))
    with pytest.raises(UserError, match="control_size must be one of the sizes"):
        StudyConfig(sizes=(500,))

from __future__ import annotations

import json
from pathlib import Path

from workflows.miniature import WEIGHTS
from workflows.miniature.models.model_card import write_card


def test_the_card_of_the_weights_states_their_measured_figures(tmp_path: Path) -> None:
    write_card(tmp_path, json.loads((WEIGHTS / "measured.json").read_text()))
    assert (tmp_path / "README.md").read_text() == (WEIGHTS / "README.md").read_text()

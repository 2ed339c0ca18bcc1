from __future__ import annotations

import pytest

from trainer.errors import TrainerError
from trainer.training.error_messages import translate_errors


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), EOFError(), RuntimeError("DataLoader worker 1")])
def test_however_a_dead_loader_is_noticed_it_is_said_in_words(error: Exception) -> None:
    with (
        pytest.raises(TrainerError, match="builds batches died at step 7"),
        translate_errors(lambda: "at step 7", ""),
    ):
        raise error
    with pytest.raises(RuntimeError, match="another"), translate_errors(lambda: "at step 7", ""):
        raise RuntimeError("another")

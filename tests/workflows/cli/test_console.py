from __future__ import annotations

import pytest

from workflows import ingest
from workflows.cli.console import UserError, run


def test_a_users_error_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(config: ingest.IngestConfig) -> None:
        raise UserError("the folder [x] is\nnot there")

    monkeypatch.setattr("sys.argv", ["ingest"])
    with pytest.raises(SystemExit) as exit_info:
        run(fail, ingest.IngestConfig, "")
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "error: the folder [x] is not there\n"

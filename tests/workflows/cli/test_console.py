from __future__ import annotations

import signal
import subprocess
import sys

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


@pytest.mark.parametrize(("has_ray", "status"), [(True, 130), (False, -signal.SIGSEGV)])
def test_an_interrupted_command_that_used_ray_does_not_enter_the_shutdown_that_crashes(
    has_ray: bool, status: int
) -> None:
    lines = [
        "import atexit, os, signal, sys",
        "from workflows.ingest import IngestConfig",
        "from workflows.cli.console import run",
        "def stop(config): raise KeyboardInterrupt",
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGSEGV))",
        "sys.modules['ray'] = sys" if has_ray else "",
        "run(stop, IngestConfig, 'Stop.')",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert "interrupted; run the same command again" in done.stderr

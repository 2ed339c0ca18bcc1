from __future__ import annotations

import importlib

import pytest
import tyro

COMMANDS = {
    "ingest": "IngestConfig",
    "generate_priors": "GeneratePriorsConfig",
    "augment": "AugmentConfig",
    "pack": "PackConfig",
    "train": "TrainCommandConfig",
    "evaluate": "EvaluateCommandConfig",
    "demo.__main__": "DemoConfig",
    "miniature.train_all": "MiniatureModelsConfig",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_help_and_runs_without_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"workflows.{name}")
    config = getattr(module, COMMANDS[name])
    tyro.cli(config, args=[])
    with pytest.raises(SystemExit) as exit_info:
        tyro.cli(config, args=["--help"], description=module.__doc__)
    assert exit_info.value.code == 0
    assert "--data" in capsys.readouterr().out or name in ("demo.__main__", "miniature.train_all")

"""Networks and exports are pushed to a stand-in for the Hub, and fetched from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest
import torch
from hub_server import StandInHub, serve_hub
from upath import UPath

from trainer.errors import TrainerError
from trainer.files import find_checkpoint
from trainer.hub import is_hub_id
from trainer.predict import Grounder
from workflows import push
from workflows.cli.console import UserError
from workflows.export import ExportConfig
from workflows.export import main as export
from workflows.presets.full_size import sd15
from workflows.presets.miniature import prior_config
from workflows.priors.config import find_prior_file, load_prior_config, save_prior_config


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """A hub that this process talks to, with a token that may write."""
    with serve_hub() as served:
        api = partial(huggingface_hub.HfApi, endpoint=served.url, token="may-write")
        monkeypatch.setattr(huggingface_hub, "HfApi", api)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.chdir(tmp_path)
        yield served


@pytest.fixture
def network(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the network, in the folder of its run."""
    return shutil.copytree(checkpoint, tmp_path / "run" / "best")


def _push(folder: Path, hub_id: str = "org/name") -> None:
    push.main(push.PushConfig(folder=folder, hub_id=hub_id))


def test_a_pushed_network_is_fetched_by_its_id_and_answers_alike(hub: StandInHub, network: Path) -> None:
    (network / "training_state.pt").write_bytes(b"not for others")
    save_prior_config(network.parent / "prior.json", sd15())
    _push(network)
    names = {"config.json", "model.safetensors", "preprocessor_config.json", "prior.json"}
    names |= {f"tokenizer/{path.name}" for path in (network / "tokenizer").iterdir()}
    assert set(hub.repositories["models/org/name"]) == names
    own, fetched = Grounder.from_pretrained(network, "cpu"), Grounder.from_pretrained("org/name", "cpu")
    expected = own.network.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in fetched.network.state_dict().items())
    assert load_prior_config(find_prior_file(find_checkpoint("org/name"))) == sd15()
    commit = hub.compute_commit("models/org/name")
    assert find_checkpoint(f"org/name@{commit}").name == commit
    assert Grounder.from_pretrained("org/name", "cpu", revision=commit).network.config == own.network.config
    with pytest.raises(TrainerError, match="org/name@v9: the hub has no such revision; name a branch, tag or commit"):
        Grounder.from_pretrained("org/name", "cpu", revision="v9")


def test_a_fetched_network_is_there_without_a_network(
    hub: StandInHub, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _push(network)
    folder = find_checkpoint("org/name")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert find_checkpoint("org/name") == folder and not hub.requests
    with pytest.raises(
        TrainerError, match=r"the hub cannot be reached, and org/other is not in its local cache; check"
    ):
        find_checkpoint("org/other")


def test_a_hub_that_does_not_answer_is_named_in_one_line(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = partial(huggingface_hub.HfApi, endpoint="http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub, "HfApi", nowhere)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the tries of the library
    with pytest.raises(TrainerError, match="the hub cannot be reached, and org/name is not in its local cache"):
        find_checkpoint("org/name")


def test_ids_that_do_not_exist_or_are_not_ours_are_refused_before_their_weights_come(hub: StandInHub) -> None:
    hub.repositories["models/org/clip"] = {"config.json": b'{"model_type": "clip"}', "model.safetensors": b"large"}
    hub.repositories["models/org/empty"] = {"README.md": b"nothing"}
    hub.repositories["models/org/odd"] = {"config.json": b"[1]"}
    for name, message in {
        "org/missing": "org/missing is neither a local folder nor on the hub, or it is private",
        "org/clip": "org/clip is no network of this project: its model_type is 'clip', not 'resvg'",
        "org/empty": r"org/empty is no network of this project: it has no config\.json",
        "org/odd": "config.json of org/odd is not JSON of a model",
        "org/na--me": "'org/na--me' is no hub id; it must be org/name",
    }.items():
        with pytest.raises(TrainerError, match=message):
            Grounder.from_pretrained(name)
    assert not any("model.safetensors" in request for request in hub.requests)


def test_only_a_name_of_two_parts_that_is_no_path_asks_the_hub(hub: StandInHub, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for name in ("runs/best", "best", "a/b/c", "./org", "/org/name", "~/name", "org/", "org/name@", "org name/x"):
        assert not is_hub_id(name), name
        assert find_checkpoint(name) == Path(name)
    assert is_hub_id("org/name") and is_hub_id("org/name@v1.0") and is_hub_id("o-r.g_1/name.2")
    assert not hub.requests


def test_an_export_is_pushed_as_a_dataset_whose_card_is_its_readme(hub: StandInHub, transvg: Path) -> None:
    exported = transvg / "exported"
    export(ExportConfig(dataset="unc", data=UPath(transvg / "data"), source="samples", to="hf", output=exported))
    _push(exported, "org/data")
    files = hub.repositories["datasets/org/data"]
    assert set(files) == {"README.md", "data/val-00000-of-00001.parquet"}
    (exported / "README.md").unlink()
    with pytest.raises(UserError, match=r"holds neither a network .* nor an export with a dataset card"):
        _push(exported, "org/data")


def test_a_damaged_network_and_a_refused_token_push_nothing(
    hub: StandInHub, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "config.json").write_text((network / "config.json").read_text())
    with pytest.raises(TrainerError, match=r"model\.safetensors does not exist"):
        _push(tmp_path / "partial")
    (tmp_path / "partial" / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(TrainerError, match="is not the configuration of a grounding network"):
        _push(tmp_path / "partial")
    api = partial(huggingface_hub.HfApi, endpoint=hub.url, token="may-read")
    monkeypatch.setattr(huggingface_hub, "HfApi", api)
    with pytest.raises(TrainerError, match=r"the hub refused org/name with status 403 .*hf auth login"):
        _push(network)
    assert not hub.repositories


def test_priors_of_models_on_this_machine_are_left_out(
    hub: StandInHub, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_prior_config(network.parent / "prior.json", prior_config())
    _push(network)
    assert "prior.json" not in hub.repositories["models/org/name"]
    assert "left out:" in capsys.readouterr().err

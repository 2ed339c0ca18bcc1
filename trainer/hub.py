"""Networks on the Hugging Face Hub, as ``org/name`` or ``org/name@revision``: fetched if you name one, or pushed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from trainer.errors import TrainerError

PRIOR_FILE = "prior.json"
"""File that describes the priors of a network: beside a trained folder, inside a fetched one."""

NETWORK_FILES = (
    *("config.json", "model.safetensors", "preprocessor_config.json", "calibration.json", "README.md", PRIOR_FILE),
    "tokenizer/*",
)
"""Files of a network that are fetched or pushed; the state of its training is not."""

_HUB_ID = re.compile(r"([\w-][\w.-]*)/[\w-][\w.-]*(@[^@\s]+)?")


def is_hub_id(name: str) -> bool:
    """Return whether a name is a hub id: two parts, of which neither both nor the first are a local folder."""
    match = _HUB_ID.fullmatch(name)
    return match is not None and not Path(match[1]).exists()


def fetch_network(hub_id: str) -> Path:
    """Fetch a network, or find it in the local cache of the hub, and return its folder.

    Args:
        hub_id: ``org/name``, or ``org/name@revision`` with a branch, tag or commit.

    Raises:
        TrainerError: there is no such network, it is another kind of model, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    repo_id, _, revision = hub_id.partition("@")
    api = HfApi()
    with translate_hub_errors(hub_id):
        config = Path(api.hf_hub_download(repo_id, "config.json", revision=revision or None))
        _check_is_network(config, hub_id)  # before a model of another kind is fetched
        return Path(api.snapshot_download(repo_id, revision=revision or None, allow_patterns=list(NETWORK_FILES)))


def _check_is_network(config: Path, hub_id: str) -> None:
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise TrainerError(f"config.json of {hub_id} is not JSON of a model ({error}); name a network") from error
    if kind != "resvg":
        raise TrainerError(
            f"{hub_id} is no network of this project: its model_type is {kind!r}, not 'resvg'; name a network that "
            "was pushed by `workflows.push`"
        )


def push(hub_id: str, files: Mapping[str, Path], kind: Literal["model", "dataset"], private: bool = False) -> str:
    """Push files to a repository of the hub, in one commit, and return its address; make the repository if needed.

    Args:
        hub_id: ``org/name``.
        files: local files by their names in the repository.
        kind: kind of the repository.
        private: whether a new repository is private.

    Raises:
        TrainerError: you are not logged in, may not write there, or the hub cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    operations = [CommitOperationAdd(name, path) for name, path in files.items()]
    with translate_hub_errors(hub_id):
        url = api.create_repo(hub_id, repo_type=kind, private=private, exist_ok=True)
        api.create_commit(hub_id, operations, commit_message=f"Upload {kind}", repo_type=kind)
    return str(url)


@contextmanager
def translate_hub_errors(hub_id: str) -> Iterator[None]:
    """Turn errors of the hub's library into a ``TrainerError`` of one line."""
    from huggingface_hub import errors as hub_errors
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    unreachable = (
        f"the hub cannot be reached, and {hub_id} is not in its local cache; check the network and HF_HUB_OFFLINE, or "
        "give a local folder"
    )
    try:
        yield
    except GatedRepoError as error:
        raise TrainerError(f"{hub_id} is gated; accept its terms on the hub, and log in by `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise TrainerError(
            f"{hub_id} is neither a local folder nor on the hub, or it is private; correct the name, or log in by "
            "`hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise TrainerError(f"{hub_id}: the hub has no such revision; name a branch, tag or commit") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise TrainerError(unreachable) from error
    except EntryNotFoundError as error:
        raise TrainerError(
            f"{hub_id} is no network of this project: it has no config.json; name a network that was pushed by "
            "`workflows.push`"
        ) from error
    except LocalTokenNotFoundError as error:
        raise TrainerError(f"pushing to {hub_id} needs your token; log in by `hf auth login`") from error
    except HFValidationError as error:
        raise TrainerError(f"{hub_id!r} is no hub id; it must be org/name") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        remedy = "log in by `hf auth login` with a token that may write" if status in (401, 403) else "try again later"
        raise TrainerError(
            f"the hub refused {hub_id} with status {status} ({error.server_message}); {remedy}"
        ) from error
    except hub_errors.HTTPError as error:  # type: ignore[attr-defined]  # of the HTTP library in use: no connection
        raise TrainerError(unreachable) from error

"""What tests of the commands share: a page in a real browser, and a network as training saves it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from upath import UPath

from tests.workflows.transvg_rows import HERE, ROWS
from trainer.data.config import ProcessorConfig
from trainer.data.processor import Processor, load_tokenizer
from trainer.model.config import make_miniature_config
from trainer.model.network import GroundingNetwork
from workflows import ingest
from workflows.miniature import WEIGHTS


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the miniature's sizes with random weights, as training saves it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run") / "best"
    text = json.loads((WEIGHTS / "bert" / "config.json").read_text())
    GroundingNetwork(replace(make_miniature_config(), text=text)).save_pretrained(folder)
    Processor(ProcessorConfig(), load_tokenizer(str(WEIGHTS / "bert"))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright; skips where either is absent."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
        options += ["--disable-background-networking", "--disable-component-update"]
        with driver.chromium.launch(executable_path=chromium, args=options) as launched:
            yield launched


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page; afterwards it is checked that it asked for nothing but its own and wrote no error."""
    problems: list[str] = []
    with browser.new_context(viewport={"width": 1200, "height": 900}) as context, context.new_page() as opened:
        opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on("request", lambda request: problems.append(request.url) if _is_outside(request.url) else None)
        yield opened
    assert not problems


def _is_outside(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:http://127.0.0.1:", "http://127.0.0.1:"))


@pytest.fixture
def transvg(tmp_path: Path) -> Path:
    """Two images with three rows, ingested as data set unc."""
    for name in ("a", "b"):
        Image.new("RGB", (10, 8), "red").save(tmp_path / f"{name}.png")
    torch.save(ROWS, tmp_path / "unc_val.pth")
    ingest.main(
        ingest.IngestConfig(
            max_dropped=1.0,
            dataset="unc",
            format="transvg",
            split_by="unc",
            annotations=UPath(tmp_path),
            images=UPath(tmp_path),
            data=UPath(tmp_path / "data"),
            executor=HERE,
        )
    )
    return tmp_path

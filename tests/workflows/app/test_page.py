from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from workflows.app.__main__ import AppConfig, load_session, open_examples
from workflows.cli.console import UserError

pytest.importorskip("gradio", reason="the extra app is not installed")
from workflows.app.page import _format_outputs, serve
from workflows.app.page import build_page as app_page

HOSTILE = "left cup <img src=x onerror=\"document.title = 'taken'\">"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.new("RGB", (64, 48), "red").save(path)
    return path


def test_a_port_must_be_one_and_free(checkpoint: Path) -> None:
    with pytest.raises(UserError, match="from 1 to 65535, got 70000"):
        AppConfig(port=70000)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        blocks = app_page(load_session(AppConfig(checkpoint=checkpoint, prior=False)), [])
        with pytest.raises(UserError, match="choose another --port"):
            serve(blocks, "127.0.0.1", taken.getsockname()[1])


@pytest.fixture
def address(checkpoint: Path) -> Iterator[str]:
    with open_examples(None) as drawn, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        blocks = app_page(load_session(AppConfig(checkpoint=checkpoint)), drawn)
        yield serve(blocks, "127.0.0.1", port)
        blocks.close()


def test_words_that_the_training_never_had_are_said_on_the_page() -> None:
    session = load_session(AppConfig(prior=False))
    said = [_format_outputs(session(Image.new("RGB", (64, 48)), query))[1] for query in ("red person", "red cup")]
    assert '**The training data of this network never had "person"; do not rely on the box.**' in said[0]
    assert "never had" not in said[1]


@pytest.mark.slow
@pytest.mark.browser
def test_an_example_is_answered_by_a_click(page: Any, address: str) -> None:
    page.goto(address)
    page.locator("tbody tr").first.click()
    page.get_by_text("Box (x1, y1, x2, y2) in pixels").wait_for(timeout=60_000)
    assert page.get_by_label("prompt of the prior").input_value().startswith("a ")
    assert page.get_by_text("verification score", exact=True).is_visible()


@pytest.mark.slow
@pytest.mark.browser
def test_an_uploaded_image_is_answered_on_a_phone(page: Any, address: str, photo: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address)
    predict, query = page.get_by_role("button", name="Predict"), page.get_by_label("query", exact=True)
    predict.click()
    page.get_by_text("there is no image yet").wait_for()
    page.locator("input[type=file]").first.set_input_files(photo)
    query.fill(" ")
    predict.click()
    page.get_by_text("the query is empty").wait_for()
    assert page.get_by_text("Error", exact=True).count() == 0  # the warning alone, and no badge over each output
    query.fill(HOSTILE)
    page.get_by_label("use a prior").uncheck()
    predict.click()
    page.get_by_text("Box (x1, y1, x2, y2) in pixels").wait_for()
    assert page.get_by_label("prompt of the prior").input_value() == ""
    assert page.evaluate("document.title") == "Visual grounding among look-alikes"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<script>document.title = 'taken'</script>", "the image is not a JPEG, PNG"),
        ("half", "the image does not decode to its end"),
        ("thin", "Box (x1, y1, x2, y2) in pixels"),
    ],
)
def test_odd_uploads_are_answered_or_refused_in_a_line(
    page: Any, address: str, tmp_path: Path, content: bytes | str, told: str
) -> None:
    path = tmp_path / "odd.png"
    if content == "thin":
        Image.new("RGBA", (1, 20_000)).save(path)
    elif content == "half":
        Image.effect_noise((90, 90), 50).convert("RGBA").save(path)
        path.write_bytes(path.read_bytes()[:2000])
    else:
        path.write_bytes(content)  # type: ignore[arg-type]
    page.goto(address)
    page.get_by_label("use a prior").uncheck()
    page.locator("input[type=file]").first.set_input_files(path)
    page.get_by_label("query", exact=True).fill("red cup")
    page.get_by_role("button", name="Predict").click()
    page.get_by_text(told).wait_for(timeout=60_000)
    assert page.evaluate("document.title") == "Visual grounding among look-alikes"

"""The page of ``workflows.app``, in gradio. It asks for nothing outside: no fonts, no statistics."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from generation.parsing.attributes import EmptyQueryError
from trainer.errors import TrainerError
from trainer.predict import opened
from workflows.app.answers import Answer, PhraseAnswerer
from workflows.cli.console import UserError, console, user_errors
from workflows.visualization.attention_maps import MOST_SHOWN_PX, views
from workflows.visualization.tiles import boxed, scaled, shrunk

TITLE = "Visual grounding among look-alikes"
ABOUT = """\
Say which thing you mean; the network finds its box. Where it takes a *prior*, a text-to-image model first draws what
the phrase describes, without where it stands."""

THEME = gr.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"])
SECONDS_KEPT = (3600, 86400)
"""How often, and from which age on, uploaded pictures are deleted."""

MOST_LETTERS, MOST_WAITING, LARGEST_FILE = 1000, 16, "50mb"


def page(answerer: PhraseAnswerer, examples: Sequence[tuple[Path, str]]) -> Any:
    """The page as ``gr.Blocks``."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=SECONDS_KEPT) as blocks:
        gr.Markdown(f"# {TITLE}\n{ABOUT}")
        with gr.Row():
            with gr.Column():
                picture = gr.Image(type="filepath", label="picture", sources=["upload", "clipboard"], height=320)
                picture.preprocess = _file_of
                phrase = gr.Textbox(label="phrase", placeholder="second cup from the left", max_length=MOST_LETTERS)
                with_prior = gr.Checkbox(
                    answerer.draws_priors, label="draw a prior first", interactive=answerer.draws_priors
                )
                find = gr.Button("Find", variant="primary")
            with gr.Column():
                found = gr.Image(label="found", height=320, buttons=["download", "fullscreen"])
                told = gr.Markdown()
        with gr.Row():
            with gr.Column():
                prior = gr.Image(label="prior", height=240, buttons=["download"])
                prompt = gr.Textbox(label="drawn from the prompt", interactive=False)
                attributes = gr.JSON(label="what was read in the phrase")
            with gr.Column():
                gr.Markdown("What the network looked at (brighter is more), and the box of each stage")
                maps = gr.Gallery(show_label=False, columns=2, height="auto", object_fit="contain")
        asked, shown = [picture, phrase, with_prior], [found, told, prior, prompt, attributes, maps]

        def answer(path: str | None, text: str, drawn: bool) -> tuple[Any, ...]:
            return _shown(_answered(answerer, path, text, drawn))

        gr.on([find.click, phrase.submit], answer, asked, shown, api_name="ground")
        if examples:
            given = gr.Examples([[str(path), text] for path, text in examples], [picture, phrase], label="examples")
            given.load_input_event.success(answer, asked, shown, api_visibility="private")
    return blocks


def _file_of(upload: Any) -> str | None:
    """The uploaded file, unread, instead of what gradio makes of it: ``opened`` says what is wrong with it."""
    return None if upload is None else str(upload.path)


def _answered(answerer: PhraseAnswerer, path: str | None, phrase: str, with_prior: bool) -> Answer:
    """
    Raises:
        gr.Error: one line; what concerns the machine alone stands in its log.
    """
    if path is None:
        raise _mistake("there is no picture yet; upload one, or take an example")
    if len(phrase) > MOST_LETTERS:
        raise _mistake(f"a phrase has at most {MOST_LETTERS} letters")
    try:
        return answerer(opened(Path(path)), phrase, with_prior)
    except EmptyQueryError:
        raise _mistake('the phrase is empty; say which thing you mean: "second cup from the left"') from None
    except TrainerError as error:
        raise _mistake(str(error).replace(path, "the picture")) from error
    except user_errors() as error:
        console.print(f"error: {error}", soft_wrap=True, markup=False)
        raise _mistake("no answer can be given; the log of the server says why") from error


def _mistake(text: str) -> gr.Error:
    return gr.Error(html.escape(text), print_exception=False)


def _shown(answer: Answer) -> tuple[Any, ...]:
    """A value for each output of the page."""
    prediction, prior = answer.explanation.prediction, answer.prior
    box = ", ".join(f"{value:.1f}" for value in prediction.box_xyxy)
    waited = f"prior {answer.prior_s:.2f} s, network {answer.network_s:.2f} s"
    score = prior.clip_score if prior else None
    fit = "" if score is None else f"; the prior fits its prompt with a CLIP score of {score:.0f}"
    of_network = views(answer.picture, answer.explanation)[1:]
    picture = shrunk(answer.picture, MOST_SHOWN_PX)
    return (
        boxed(picture, [(scaled(prediction.box_xyxy, answer.picture, picture), "")]),
        f"Box (x1, y1, x2, y2) in pixels: **{box}**  \n{waited}{fit}",
        None if prior is None else boxed(Image.fromarray(prior.image), []),
        "" if prior is None else prior.prompt,
        answer.attributes,
        [(view.drawn(), view.caption) for view in of_network],
    )


def serve(blocks: Any, host: str, port: int) -> str:
    """Serve in the background.

    Returns:
        The page's address.

    Raises:
        UserError: the port is taken, or the host is none of this machine's.
    """
    try:
        blocks.queue(max_size=MOST_WAITING, default_concurrency_limit=1)  # the network is one, and watched
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            theme=THEME,
            footer_links=[],
            quiet=True,
            max_file_size=LARGEST_FILE,
            ssr_mode=False,
            prevent_thread_lock=True,
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"{host}:{port} cannot be served; take another --port if it is taken, and as --host an address of this "
            f"machine ({error})"
        ) from error
    return str(address)

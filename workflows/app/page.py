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
from trainer.predict import open_image
from workflows.app.answers import Answer, GroundingSession
from workflows.cli.console import UserError, console, get_user_errors
from workflows.visualization.annotated_images import draw_named_boxes, scale_box, shrink_image
from workflows.visualization.attention_maps import MAX_SHOWN_PX, make_views

TITLE = "Visual grounding among look-alikes"
ABOUT = """\
Say which object you mean; the network finds its box. Where it takes a *prior*, a text-to-image model first draws what
the phrase describes, without where it stands."""

THEME = gr.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"])
CACHE_TIMES_S = (3600, 86400)
"""How often, and from which age on, uploaded images are deleted."""

MAX_LETTERS, MAX_WAITING, MAX_FILE_SIZE = 1000, 16, "50mb"


def build_page(session: GroundingSession, examples: Sequence[tuple[Path, str]]) -> Any:
    """The page as ``gr.Blocks``."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=CACHE_TIMES_S) as blocks:
        gr.Markdown(f"# {TITLE}\n{ABOUT}")
        with gr.Row():
            with gr.Column():
                image = gr.Image(type="filepath", label="picture", sources=["upload", "clipboard"], height=320)
                image.preprocess = _get_upload_path
                query = gr.Textbox(label="phrase", placeholder="second cup from the left", max_length=MAX_LETTERS)
                with_prior = gr.Checkbox(
                    session.generates_priors, label="draw a prior first", interactive=session.generates_priors
                )
                find = gr.Button("Find", variant="primary")
            with gr.Column():
                boxed_image = gr.Image(label="found", height=320, buttons=["download", "fullscreen"])
                summary = gr.Markdown()
        with gr.Row():
            with gr.Column():
                prior = gr.Image(label="prior", height=240, buttons=["download"])
                prompt = gr.Textbox(label="drawn from the prompt", interactive=False)
                attributes = gr.JSON(label="what was read in the phrase")
            with gr.Column():
                gr.Markdown("What the network looked at (brighter is more), and the box of each stage")
                maps = gr.Gallery(show_label=False, columns=2, height="auto", object_fit="contain")
        inputs, outputs = [image, query, with_prior], [boxed_image, summary, prior, prompt, attributes, maps]

        def answer(path: str | None, text: str, draw: bool) -> tuple[Any, ...]:
            return _format_outputs(_predict_answer(session, path, text, draw))

        gr.on([find.click, query.submit], answer, inputs, outputs, api_name="ground")
        if examples:
            example_list = gr.Examples([[str(path), text] for path, text in examples], [image, query], label="examples")
            example_list.load_input_event.success(answer, inputs, outputs, api_visibility="private")
    return blocks


def _get_upload_path(upload: Any) -> str | None:
    """The uploaded file, unread, instead of what gradio makes of it: ``open_image`` says what is wrong with it."""
    return None if upload is None else str(upload.path)


def _predict_answer(session: GroundingSession, path: str | None, query: str, with_prior: bool) -> Answer:
    """
    Raises:
        gr.Error: one line; what concerns the machine alone stands in its log.
    """
    if path is None:
        raise _make_error("there is no image yet; upload one, or take an example")
    if len(query) > MAX_LETTERS:
        raise _make_error(f"a phrase has at most {MAX_LETTERS} letters")
    try:
        return session(open_image(Path(path)), query, with_prior)
    except EmptyQueryError:
        raise _make_error('the phrase is empty; say which object you mean: "second cup from the left"') from None
    except TrainerError as error:
        raise _make_error(str(error).replace(path, "the image")) from error
    except get_user_errors() as error:
        console.print(f"error: {error}", soft_wrap=True, markup=False)
        raise _make_error("no answer can be given; the log of the server says why") from error


def _make_error(text: str) -> gr.Error:
    return gr.Error(html.escape(text), print_exception=False)


def _format_outputs(answer: Answer) -> tuple[Any, ...]:
    """A value for each output of the page."""
    prediction, prior = answer.explanation.prediction, answer.prior
    box = ", ".join(f"{value:.1f}" for value in prediction.box_xyxy)
    timings = f"prior {answer.prior_s:.2f} s, network {answer.network_s:.2f} s"
    score = prior.clip_score if prior else None
    fit = "" if score is None else f"; the prior fits its prompt with a CLIP score of {score:.0f}"
    network_views = make_views(answer.image, answer.explanation)[1:]
    image = shrink_image(answer.image, MAX_SHOWN_PX)
    return (
        draw_named_boxes(image, [(scale_box(prediction.box_xyxy, answer.image, image), "")]),
        f"Box (x1, y1, x2, y2) in pixels: **{box}**  \n{timings}{fit}",
        None if prior is None else draw_named_boxes(Image.fromarray(prior.image), []),
        "" if prior is None else prior.prompt,
        answer.attributes,
        [(view.draw(), view.caption) for view in network_views],
    )


def serve(blocks: Any, host: str, port: int) -> str:
    """Serve in the background.

    Returns:
        The page's address.

    Raises:
        UserError: the port is taken, or the host is none of this machine's.
    """
    try:
        blocks.queue(max_size=MAX_WAITING, default_concurrency_limit=1)  # the network is one, and watched
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            theme=THEME,
            footer_links=[],
            quiet=True,
            max_file_size=MAX_FILE_SIZE,
            ssr_mode=False,
            prevent_thread_lock=True,
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"{host}:{port} cannot be served; take another --port if it is taken, and as --host an address of this "
            f"machine ({error})"
        ) from error
    return str(address)

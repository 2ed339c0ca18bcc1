"""Page of ``workflows.app`` in gradio. It loads nothing from other servers: no fonts, no statistics."""

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
Describe an object in the image, and the network predicts its box. If the network uses a *prior*, a text-to-image model
first renders the query without its position words."""

THEME = gr.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"])
CACHE_TIMES_S = (3600, 86400)
"""Interval in which old uploads are deleted, and the age from which an upload is old."""

MAX_LETTERS, MAX_WAITING, MAX_FILE_SIZE = 1000, 16, "50mb"


class RefusedQueryError(Exception):
    """Query without an answer; the message is one line for the page."""


def build_page(session: GroundingSession, examples: Sequence[tuple[Path, str]], note: str = "") -> Any:
    """Build the page as ``gr.Blocks``.

    Args:
        session: network that answers.
        examples: images with queries.
        note: what the network knows.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=CACHE_TIMES_S) as blocks:
        gr.Markdown(f"# {TITLE}\n{ABOUT} {note}")
        with gr.Row():
            with gr.Column():
                image = gr.Image(type="filepath", label="image", sources=["upload", "clipboard"], height=320)
                # Pass on the path: gradio would decode the file, and open_image reports its faults.
                image.preprocess = lambda upload: None if upload is None else str(upload.path)
                query = gr.Textbox(label="query", placeholder="second cup from the left", max_length=MAX_LETTERS)
                with_prior = gr.Checkbox(
                    session.generates_priors, label="use a prior", interactive=session.generates_priors
                )
                find = gr.Button("Predict", variant="primary")
                example_list = None
                if examples:
                    rows = [[str(path), text] for path, text in examples]
                    example_list = gr.Examples(rows, [image, query], label="examples", examples_per_page=4)
            with gr.Column():
                boxed_image = gr.Image(label="prediction", height=320, buttons=["download", "fullscreen"])
                summary = gr.Markdown()
                with gr.Row():
                    prior = gr.Image(label="prior", height=240, buttons=["download"])
                    prompt = gr.Textbox(label="prompt of the prior", interactive=False)
        gr.Markdown("Verification score, attention of each stage (brighter is more) and its box")
        maps = gr.Gallery(show_label=False, columns=4, height="auto", object_fit="contain")
        with gr.Accordion("attributes of the query", open=False):
            attributes = gr.JSON(show_label=False)
        inputs, outputs = [image, query, with_prior], [boxed_image, summary, prior, prompt, attributes, maps]

        def answer(path: str | None, text: str, draw: bool) -> tuple[Any, ...]:
            try:
                return _format_outputs(_predict_answer(session, path, text, draw))
            except RefusedQueryError as error:  # one warning; an error would cover each output
                gr.Warning(html.escape(str(error)))
                return (None,) * len(outputs)

        gr.on([find.click, query.submit], answer, inputs, outputs, api_name="ground")
        if example_list:
            example_list.load_input_event.success(answer, inputs, outputs, api_visibility="private")
    return blocks


def _predict_answer(session: GroundingSession, path: str | None, query: str, with_prior: bool) -> Answer:
    """Answer the query of the page.

    Raises:
        RefusedQueryError: input is missing or wrong; faults of the machine are only written to the server's log.
    """
    if path is None:
        raise RefusedQueryError("there is no image yet; upload one, or choose an example")
    if len(query) > MAX_LETTERS:
        raise RefusedQueryError(f"a query may have at most {MAX_LETTERS} letters, got {len(query)}; shorten it")
    try:
        return session(open_image(Path(path)), query, with_prior)
    except EmptyQueryError:
        raise RefusedQueryError('the query is empty; describe an object: "second cup from the left"') from None
    except TrainerError as error:
        raise RefusedQueryError(str(error).replace(path, "the image")) from error
    except get_user_errors() as error:
        console.print(f"error: {error}", soft_wrap=True, markup=False)
        raise RefusedQueryError("the prediction failed; see the log of the server") from error


def _format_outputs(answer: Answer) -> tuple[Any, ...]:
    """Return a value for each output of the page."""
    prediction, prior = answer.explanation.prediction, answer.prior
    others = [(one.box_xyxy, f"{one.score:.0%}") for one in prediction.boxes[1:]]
    named = [(prediction.box_xyxy, prediction.describe_confidence()), *others]
    boxes = "; ".join(", ".join(f"{value:.1f}" for value in box) for box, _ in named)
    timings = f"prior {answer.prior_s:.2f} s, network {answer.network_s:.2f} s"
    network_views = make_views(answer.image, answer.explanation)[1:]
    image = shrink_image(answer.image, MAX_SHOWN_PX)
    unseen = prediction.describe_unseen_words()
    return (
        draw_named_boxes(image, [(scale_box(box, answer.image, image), label) for box, label in named]),
        f"Box (x1, y1, x2, y2) in pixels: **{boxes}**  \nconfidence: **{prediction.describe_confidence()}**; {timings}"
        + (f"  \n**{unseen}**" if unseen else ""),
        None if prior is None else draw_named_boxes(Image.fromarray(prior.image), []),
        "" if prior is None else prior.prompt,
        answer.attributes,
        [(view.draw(), view.caption) for view in network_views],
    )


def serve(blocks: Any, host: str, port: int) -> str:
    """Serve the page in the background.

    Returns:
        Address of the page.

    Raises:
        UserError: the port is in use, or the host is not an address of this machine.
    """
    try:
        blocks.queue(max_size=MAX_WAITING, default_concurrency_limit=1)  # one network, whose activations are recorded
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
            f"{host}:{port} cannot be served; choose another --port if it is in use, and an address of this "
            f"machine as --host ({error})"
        ) from error
    return str(address)

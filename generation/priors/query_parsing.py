"""The parse job: a query in, its attributes, prompt and prior id out, one Parquet row each."""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from generation.parsing.attributes import AttributeParser, Attributes
from generation.parsing.normalization import is_empty
from generation.priors.config import PriorConfig, identify_prior
from generation.priors.prompt import build_prompt
from pipeline import Item, Rejected, Sink, SinkOutput, Stage

PARSED_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("text", pa.string()),
        ("prior_id", pa.string()),
        ("prompt", pa.string()),
        ("kind", pa.string()),
        ("head", pa.string()),
        ("attributes", pa.string()),
        ("shortened", pa.bool_()),
        ("num_images", pa.int32()),
    ]
)
"""Columns of the table of parsed queries, one for each field of ``ParsedQuery``."""

PARSED_COLUMNS = {
    "key": "VARCHAR",
    "text": "VARCHAR",
    "prior_id": "VARCHAR",
    "prompt": "VARCHAR",
    "kind": "VARCHAR",
    "head": "VARCHAR",
    "attributes": "VARCHAR",
    "shortened": "BOOLEAN",
    "num_images": "INTEGER",
}
"""SQL types of the columns of ``PARSED_SCHEMA``."""


@cache
def compute_parser_fingerprint() -> str:
    """Hash the code of the parser and of prompts, so that queries are parsed again after each change of it."""
    paths = [*(Path(__file__).parents[1] / "parsing").glob("*.py"), Path(__file__).with_name("prompt.py")]
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(ast.dump(_strip_docstrings(ast.parse(path.read_text()))).encode())
    return digest.hexdigest()


def _strip_docstrings(tree: ast.Module) -> ast.Module:
    """Remove the bare strings of a module, since docstrings do not change the parser."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            bare = [line for line in node.body if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)]
            node.body = [line for line in node.body if line not in bare]
    return tree


@dataclass(frozen=True, kw_only=True)
class ParsedQuery:
    """A query, its attributes and the prior that it needs: a row of ``PARSED_SCHEMA``."""

    key: str
    """The query's id."""

    text: str
    prior_id: str
    prompt: str
    kind: str
    """Kind of the target: person, animal, garment, part, stuff, object or unknown."""

    head: str
    """Lemma of the target's head noun; empty if the query names none."""

    attributes: str = field(repr=False)
    """JSON of ``Attributes``."""

    shortened: bool
    """Details were dropped, since the caption has too many words."""

    num_images: int
    """Number of images of the prior."""


class ParseStage(Stage[Item, ParsedQuery]):
    """Stage that parses ``text`` in an item's payload.

    Args:
        config: wording of prompts, and numbers of images.
        settings: ``build_image_settings`` of the priors, for their ids.
    """

    batch_size = 512

    def __init__(self, config: PriorConfig, settings: dict[str, Any]) -> None:
        self.config, self.settings = config, settings

    def setup(self) -> None:
        self._parser = AttributeParser()

    def process(self, items: list[Item]) -> list[ParsedQuery | Rejected]:
        texts = {item.key: str(item.payload["text"]) for item in items}
        nonempty = {key: text for key, text in texts.items() if not is_empty(text)}
        attributes = dict(zip(nonempty, self._parser.parse(nonempty.values()), strict=True))
        return [
            self._parse_query(key, text, attributes[key])
            if key in attributes
            else Rejected(key=key, reason="empty_query", detail=f"{text!r} has neither a letter nor a digit")
            for key, text in texts.items()
        ]

    def _parse_query(self, key: str, text: str, attributes: Attributes) -> ParsedQuery:
        prompt = build_prompt(attributes, self.config.prompt)
        return ParsedQuery(
            key=key,
            text=text,
            prior_id=identify_prior(prompt, self.config, self.settings),
            prompt=prompt.text,
            kind=attributes.kind,
            head=attributes.target.lemma,
            attributes=json.dumps(attributes.to_json(), separators=(",", ":")),
            shortened=prompt.shortened,
            num_images=self.config.count_images(prompt),
        )


class ParsedSink(Sink[ParsedQuery]):
    """Sink of parsed queries in one Parquet file, in the order of the plan."""

    def write(self, items: list[ParsedQuery], folder: Path) -> SinkOutput:
        path = folder / "queries.parquet"
        pq.write_table(pa.Table.from_pylist([asdict(item) for item in items], schema=PARSED_SCHEMA), path)
        return SinkOutput(
            files={"queries": path},
            summary={
                "queries": len(items),
                "unique_prompts": len({item.prior_id for item in items}),
                "without_head": sum(not item.head for item in items),
                "shortened": sum(item.shortened for item in items),
            },
        )

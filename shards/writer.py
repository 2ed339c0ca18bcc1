"""How samples are stored: a WebDataset tar, a Parquet index of it, and a Parquet table of the queries.

The members of the tar are ``{key}.jpg {key}.json``, and ``{key}.priors.npy`` if the shard is self-contained. The image
is missing if another run holds it.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import Sink, SinkOutput
from shards.query_table import QUERY_SCHEMA
from shards.schema import Sample
from shards.tar import locate_members

INDEX_COLUMNS = {"key": "VARCHAR", "split": "VARCHAR"}
"""SQL types of the columns of ``INDEX_SCHEMA`` that joins read."""

INDEX_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("split", pa.string()),
        ("num_queries", pa.int32()),
        ("num_without_target", pa.int32()),
        ("num_instances", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("image_offset", pa.int64()),
        ("image_bytes", pa.int64()),
        ("json_offset", pa.int64()),
        ("json_bytes", pa.int64()),
        ("priors_offset", pa.int64()),
        ("priors_bytes", pa.int64()),
    ]
)
"""One row a sample, in the order of the tar. Offsets are those of the members' contents; -1 where there is none.
``num_without_target`` is the number of queries without a target."""


class SampleSink(Sink[Sample]):
    """Writes one shard of samples; the same samples give the same bytes."""

    def write(self, items: list[Sample], folder: Path) -> SinkOutput:
        tar, index, query_table = folder / "samples.tar", folder / "index.parquet", folder / "queries.parquet"
        with tar.open("wb") as file:
            write_tar(file, [build_members(sample) for sample in items])
        pq.write_table(pa.Table.from_pylist(_build_index_rows(items, tar), schema=INDEX_SCHEMA), index)
        queries = [
            {"sample": sample.key, "query_id": query.query_id, "text": query.text, "split": query.split}
            for sample in items
            for query in sample.queries
        ]
        pq.write_table(pa.Table.from_pylist(queries, schema=QUERY_SCHEMA), query_table, compression="zstd")
        instances = sum(len(sample.instances) for sample in items)
        return SinkOutput(
            files={"tar": tar, "index": index, "queries": query_table},
            summary={"samples": len(items), "queries": len(queries), "instances": instances},
        )


def build_members(sample: Sample) -> dict[str, bytes]:
    """Name to content of a sample's members, image first; a sample without an image has none of it."""
    members = {f"{sample.key}.{get_image_extension(sample.image)}": sample.image} if sample.image else {}
    members[f"{sample.key}.json"] = json.dumps(sample.to_json(), separators=(",", ":")).encode()
    if sample.priors is not None:
        members[f"{sample.key}.priors.npy"] = encode_npy(sample.priors.astype(np.float16))
    return members


def get_image_extension(content: bytes) -> str:
    """Return ``png`` or ``jpg``, by the first bytes of the content."""
    return "png" if content.startswith(b"\x89PNG") else "jpg"


def encode_npy(array: npt.NDArray[np.float16]) -> bytes:
    """Encode an array as the content of an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def decode_npy(content: bytes) -> npt.NDArray[np.float16]:
    """Decode the content of an .npy file, as ``encode_npy`` writes it.

    Returns:
        The features.

    Raises:
        ValueError: the header is of another kind, or claims another size than follows.
    """
    buffer = io.BytesIO(content)
    version = np.lib.format.read_magic(buffer)
    if version != (1, 0):
        raise ValueError(f"its version is {version}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(buffer)
    if dtype != np.float16:
        raise ValueError(f"it holds {dtype}, not float16")
    # NumPy's own reader takes memory for what a header claims before it looks at what follows.
    features = np.frombuffer(content, np.float16, offset=buffer.tell()).reshape(shape)
    return features.copy()


def map_npy(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
    """Map the features in an .npy file into memory."""
    features: np.ndarray[tuple[int, ...], np.dtype[np.float16]] = np.load(path, mmap_mode="r", allow_pickle=False)
    return features


def write_tar(file: io.BufferedWriter, groups: list[dict[str, bytes]]) -> None:
    """Write groups of members in order, with no clock, owner or mode of this machine in them."""
    import webdataset as wds

    with wds.TarWriter(file, encoder=False, user="resvg", group="resvg", mode=0o644, mtime=0) as writer:
        writer.tarstream.format = tarfile.USTAR_FORMAT  # the same bytes for names this short, in half the time
        for members in groups:
            for name, content in members.items():
                key, extension = name.split(".", 1)
                writer.write({"__key__": key, extension: content})


def _build_index_rows(items: list[Sample], tar: Path) -> list[dict[str, object]]:
    spans = locate_members(tar) if items else {}
    rows = []
    for sample in items:
        image = spans.get(f"{sample.key}.{get_image_extension(sample.image)}", (-1, -1))
        record = spans[f"{sample.key}.json"]
        priors = spans.get(f"{sample.key}.priors.npy", (-1, -1))
        splits = sorted({query.split for query in sample.queries})
        rows.append(
            {
                "key": sample.key,
                "split": splits[0] if len(splits) == 1 else ",".join(splits),
                "num_queries": len(sample.queries),
                "num_without_target": sum(not query.boxes_xyxy for query in sample.queries),
                "num_instances": len(sample.instances),
                "width": sample.width,
                "height": sample.height,
                "image_offset": image[0],
                "image_bytes": image[1],
                "json_offset": record[0],
                "json_bytes": record[1],
                "priors_offset": priors[0],
                "priors_bytes": priors[1],
            }
        )
    return rows

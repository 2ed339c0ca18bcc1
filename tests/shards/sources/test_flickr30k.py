"""Flickr30k Entities' own files."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from shards.schema import Sample
from shards.sources.errors import SourceError
from shards.sources.flickr30k import MAX_BYTES, read_flickr30k
from shards.sources.validation import validate_samples

SENTENCES = """[/EN#1/people Two men] look at [/EN#2/animals a dog] in [/EN#3/scene a park] .
[/EN#0/notvisual It] shows [/EN#2/animals/other the brown dog] .
Nobody marked anything here .
"""
BOXES = """<annotation><filename>77.jpg</filename><size><width>100</width><height>80</height><depth>3</depth></size>
<object><name>1</name><bndbox><xmin>1</xmin><ymin>11</ymin><xmax>20</xmax><ymax>60</ymax></bndbox></object>
<object><name>1</name><name>2</name>
  <bndbox><xmin>41</xmin><ymin>5</ymin><xmax>100</xmax><ymax>80</ymax></bndbox></object>
<object><name>3</name><scene>1</scene><nobndbox>1</nobndbox></object></annotation>
"""


def _folder(path: Path, sentences: str = SENTENCES, boxes: str = BOXES, ids: str = "77\n") -> Path:
    for name in ("Sentences", "Annotations"):
        (path / name).mkdir()
    (path / "Sentences" / "77.txt").write_text(sentences)
    (path / "Annotations" / "77.xml").write_text(boxes)
    (path / "val.txt").write_text(ids)
    return path


def test_phrases_get_the_boxes_of_their_chains(tmp_path: Path) -> None:
    (sample,) = read_flickr30k(_folder(tmp_path), "flickr30k")
    assert (sample.image_name, sample.split, sample.size) == ("77.jpg", "val", (100, 80))
    men, dog, again = sample.queries
    assert (men.query_id, men.text) == ("flickr30k-77-1-0", "Two men")
    assert men.boxes_xyxy == ((0, 10, 20, 60), (40, 4, 100, 80))  # counted from 1, the last pixel named
    assert men.box_xyxy == (0, 4, 100, 80)
    assert (dog.text, dog.box_xyxy, dog.boxes_xyxy) == ("a dog", (40, 4, 100, 80), ((40, 4, 100, 80),))
    assert (again.text, again.query_id) == ("the brown dog", "flickr30k-77-2-1")


def test_phrases_without_a_box_are_counted(tmp_path: Path) -> None:
    Image.new("RGB", (100, 80)).save(tmp_path / "77.jpg")
    screening = validate_samples(read_flickr30k(_folder(tmp_path), "flickr30k"), tmp_path)
    assert [(p.rule, p.detail) for p in screening.problems] == [
        ("no_box", "'a park', chain 3"),
        ("no_box", "'It', chain 0"),
    ]
    (sample,) = screening.samples
    whole = Sample(
        key=sample.key,
        width=100,
        height=80,
        image_name=sample.image_name,
        image=b"",
        instances=(),
        queries=sample.queries,
    )
    assert Sample.from_json(whole.to_json(), b"") == whole


def test_a_phrase_that_is_not_closed_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    (sample,) = read_flickr30k(_folder(tmp_path, "[/EN#2/animals a dog] and [/EN#1/people two men"), "f")
    assert [q.text for q in sample.queries] == ["a dog"]
    assert [(p.rule, p.num_queries) for p in sample.problems] == [("malformed_phrase", 1)]


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><annotation>&c;</annotation>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><annotation><size>&b;</size></annotation>'


@pytest.mark.parametrize("boxes", [BOMB, OUTSIDE, "<annotation>", "", "<annotation><size/></annotation>"])
def test_xml_with_entities_or_without_sense_is_refused_by_name(tmp_path: Path, boxes: str) -> None:
    with pytest.raises(SourceError, match=r"77\.xml"):
        list(read_flickr30k(_folder(tmp_path, boxes=boxes), "f"))


def test_a_box_that_is_no_box_is_named_with_its_object(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"77\.xml, object 0: a box is four numbers"):
        list(read_flickr30k(_folder(tmp_path, boxes=BOXES.replace("<xmin>1<", "<xmin>left<")), "f"))
    (tmp_path / "Annotations" / "77.xml").write_text(BOXES.replace("<name>3<", "<name>three<").replace("nobnd", "bnd"))
    with pytest.raises(SourceError, match="object 2"):
        list(read_flickr30k(tmp_path, "f"))


@pytest.mark.parametrize("ids", ["../../etc/passwd\n", "77.jpg\n"])
def test_a_list_of_a_split_holds_numbers_only(tmp_path: Path, ids: str) -> None:
    with pytest.raises(SourceError, match=r"val\.txt, line 1: a line is an image's number"):
        list(read_flickr30k(_folder(tmp_path, ids=ids), "f"))


def test_missing_and_oversized_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="give the folder of Flickr30k Entities"):
        list(read_flickr30k(tmp_path, "f"))
    folder = _folder(tmp_path, ids="78\n")
    with pytest.raises(SourceError, match=r"78\.xml does not exist"):
        list(read_flickr30k(folder, "f"))
    (folder / "val.txt").write_text("77\n")
    (folder / "Sentences" / "77.txt").write_text("x" * (MAX_BYTES + 1))
    with pytest.raises(SourceError, match=r"77\.txt has .* more than"):
        list(read_flickr30k(folder, "f"))

"""Names of held-out images."""

from __future__ import annotations

import pytest

from augmentation.composers.held_out import HeldOut


@pytest.mark.parametrize("name", ["COCO_train2014_000000123456.jpg", "000000123456.jpg", "a/000000123456_3.jpg"])
def test_a_photograph_of_coco_is_the_same_under_every_name(name: str) -> None:
    held_out = HeldOut.from_images(names=["COCO_val2014_000000123456.jpg"])
    assert held_out.reason(name) == "held_out_name"
    assert held_out.reason("000000123457.jpg") is None


def test_held_out_photographs_unite() -> None:
    one, two = HeldOut.from_images([("a.jpg", b"aa")]), HeldOut.from_images(names=["b.jpg"])
    both = one | two
    assert both.fingerprint != one.fingerprint
    assert [both.reason(name, content) for name, content in (("b.png", b""), ("c.jpg", b"aa"), ("c.jpg", b"ab"))] == [
        "held_out_name",
        "held_out_content",
        None,
    ]

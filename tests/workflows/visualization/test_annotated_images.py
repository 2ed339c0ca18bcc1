from __future__ import annotations

from PIL import Image

from workflows.visualization.annotated_images import MIN_SHOWN_PX, draw_named_boxes, scale_box, shrink_image


def test_boxes_follow_a_shrunken_image() -> None:
    image = Image.new("RGB", (200, 100))
    shown = shrink_image(image, 50)
    assert shown.size == (50, 25)
    assert scale_box((20, 40, 100, 80), image, shown) == (5, 10, 25, 20)
    assert shrink_image(image, 300) is image


def test_small_images_are_enlarged_by_a_whole_number() -> None:
    shown = draw_named_boxes(Image.new("RGB", (64, 48), "white"), [((10, 10, 20, 20), "cup")])
    assert shown.size == (MIN_SHOWN_PX, 240)
    assert shown.getpixel((50, 50)) != (255, 255, 255)

from __future__ import annotations

from PIL import Image

from shards.tiles import GAP_PX, LINE_PX, TRUTH, make_sheet, make_tile


def test_a_tile_has_its_image_below_the_caption_and_boxes_at_its_scale() -> None:
    tile = make_tile(Image.new("RGB", (50, 25), "blue"), "a cup", [((10, 5, 40, 20), TRUTH)], side_px=100)
    top = 2 * LINE_PX + 4
    assert tile.size == (100, 100 + top)
    assert tile.getpixel((20, top + 10)) == TRUTH and tile.getpixel((80, top + 40)) == TRUTH
    assert tile.getpixel((50, top + 25)) == (0, 0, 255)
    assert tile.getpixel((50, top + 60)) == (255, 255, 255)  # below the image, which is half as high as wide


def test_a_tile_without_lines_is_the_square_alone() -> None:
    assert make_tile(Image.new("L", (8, 8)), "cut off", side_px=64, num_lines=0).size == (64, 64)


def test_a_sheet_has_as_many_columns_as_tiles_at_most() -> None:
    tiles = [make_tile(Image.new("RGB", (8, 8)), "", side_px=40, num_lines=0)] * 5
    cell = 40 + GAP_PX
    assert make_sheet(tiles, columns=3).size == (3 * cell, 2 * cell)
    assert make_sheet(tiles[:2], columns=3).size == (2 * cell, cell)
    assert make_sheet([]).height > 0

from __future__ import annotations

from workflows.reports.plot_style import new_figure, plot_heat_map, plot_levels


def test_levels_are_read_from_top_to_bottom_with_their_numbers() -> None:
    _, (axes,) = new_figure(4, 2)
    plot_levels(axes, {"attempted": 1200, "accepted": 300}, "items")
    assert [text.get_text().strip() for text in axes.texts] == ["1,200", "300"]
    assert [bar.get_width() for bar in axes.patches] == [1200, 300]
    assert axes.yaxis_inverted()


def test_texts_of_a_heat_map_stand_out_from_dark_and_light() -> None:
    _, (axes,) = new_figure(4, 2)
    plot_heat_map(axes, [[0.0, 1.0, None]], [["0/4", "4/4", ""]], ["side"], ["2", "3", "4"])
    assert [(text.get_text(), text.get_color()) for text in axes.texts] == [
        ("0/4", "white"), ("4/4", "black"), ("", "black"),
    ]  # fmt: skip

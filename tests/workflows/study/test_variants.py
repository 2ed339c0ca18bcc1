from __future__ import annotations

from workflows.study.variants import VARIANTS, VARIANTS_BY_NAME, find_limited_words


def test_four_variants_are_main_and_trained_at_all_sizes() -> None:
    main = [variant for variant in VARIANTS if variant.is_main]
    assert [variant.name for variant in main] == ["base", "priors", "scenes", "both"]
    assert all(variant.all_sizes for variant in main)
    assert len(VARIANTS_BY_NAME) == len(VARIANTS)


def test_held_out_colors_are_whole_words() -> None:
    assert find_limited_words("the brown cup", "held-out colors") == ["brown"]
    assert not find_limited_words("the brownish cup", "held-out colors")


def test_a_training_set_is_named_by_priors_and_held_out_colors() -> None:
    names = {str(VARIANTS_BY_NAME[name].training_set) for name in ("base", "priors", "shuffled priors")}
    assert names == {"own", "shuffled"}
    assert str(VARIANTS_BY_NAME["priors, colors held out"].training_set) == "own-held-out-colors"

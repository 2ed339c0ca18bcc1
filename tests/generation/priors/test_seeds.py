"""Seeds of images."""

from __future__ import annotations

from generation.priors.seeds import compute_image_seed


def test_seeds_differ_by_prompt_seed_and_number_and_fit_63_bits() -> None:
    seeds = {compute_image_seed(prompt, seed, index) for prompt in "abcde" for seed in (0, 1) for index in (0, 1)}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**63 for seed in seeds)

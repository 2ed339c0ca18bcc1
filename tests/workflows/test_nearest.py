"""The miniature's priors show what their queries mean."""

from __future__ import annotations

from benchmarks.priors import measure_priors
from generation.priors.generator import PriorGenerator
from workflows.presets import miniature


def test_the_nearest_crop_to_a_prior_shows_the_same_thing() -> None:
    figures = measure_priors(PriorGenerator(miniature.prior_config()), num_queries=32, crops_each=4)
    assert figures["crops"] == 4 * 360
    assert figures["color"] >= 0.85
    assert figures["pattern"] >= 0.85
    assert figures["all three"] >= 0.6  # 0.82 of 300 queries with 12 crops each; by chance 1 in 360

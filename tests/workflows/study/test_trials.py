from __future__ import annotations

from workflows.study.__main__ import StudyConfig
from workflows.study.trials import list_trials
from workflows.study.variants import VARIANTS


def test_main_variants_have_all_seeds_and_controls_fewer_and_some_have_all_sizes() -> None:
    every = list(list_trials((500, 2000), VARIANTS, num_seeds=3, num_control_seeds=2, control_size=2000))
    trained = {variant.name: [(one.size, one.seed) for one in every if one.variant == variant] for variant in VARIANTS}
    assert trained["both"] == [(500, 0), (2000, 0), (500, 1), (2000, 1), (500, 2), (2000, 2)]
    assert trained["prompts without attributes"] == trained["both"]
    assert trained["pasted scenes"] == [(500, 0), (2000, 0), (500, 1), (2000, 1)]
    assert trained["prompts without attributes, Pseudo-Q's rules"] == [(2000, 0), (2000, 1), (2000, 2)]
    assert trained["oracle priors"] == [(2000, 0), (2000, 1)]
    assert all(trained[variant.name] == trained["both"] for variant in VARIANTS if variant.is_main)
    assert [one.seed for one in every] == sorted(one.seed for one in every)
    assert len({str(one.folder(StudyConfig().output)) for one in every}) == len(every)

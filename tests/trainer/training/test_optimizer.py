from __future__ import annotations

import pytest

from trainer.training.optimizer import OptimizationConfig, compute_lr_factor, compute_lr_scale


def test_learning_rates_follow_the_size_of_a_step() -> None:
    scales = [compute_lr_scale(OptimizationConfig(lr_scaling=how), 256) for how in ("none", "sqrt", "linear")]
    assert scales == [1.0, 2.0, 4.0]


def test_learning_rates_rise_then_drop_at_their_epoch() -> None:
    config = OptimizationConfig(warmup_steps=4, lr_drop_epoch=3)
    factors = [compute_lr_factor(config, step, 10, 50) for step in (0, 3, 29, 30)]
    assert factors == pytest.approx([0.25, 1.0, 1.0, 0.1])
    cosine = OptimizationConfig(schedule="cosine")
    assert [compute_lr_factor(cosine, s, 10, 20) for s in (0, 10)] == pytest.approx([1.0, 0.5])

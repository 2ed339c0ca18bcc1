"""What a person runs: one module per make target. Nothing imports this package."""

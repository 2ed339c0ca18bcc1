"""What to generate: vocabulary, quotas, selection."""

"""Planning of scenes: vocabulary, quotas, selection."""

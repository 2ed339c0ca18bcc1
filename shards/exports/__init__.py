"""Samples in the formats of other trainers; each can be read again by its reader in ``shards/sources``."""

"""Paraphrases of verified queries by a language model, each verified again."""

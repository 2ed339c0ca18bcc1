"""Parsing of a query into attributes: spelling, location words, tagging, noun phrases."""

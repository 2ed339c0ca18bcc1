"""From a query to its prior: parsing, prompt, rendering, store."""

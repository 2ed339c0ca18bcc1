"""The grounding network, one module per part of the paper."""

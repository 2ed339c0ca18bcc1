"""The whole job with full-size models of random weights: time, memory and disk before anything is downloaded."""

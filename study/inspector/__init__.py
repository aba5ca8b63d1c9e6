"""Scoring new images with the calibrated models: what `make inspect` and `make export` use."""

"""Scoring new images with the study's calibrated models: what `make inspect` and `make export` use."""

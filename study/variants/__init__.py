"""Trainings that params.yaml may declare in place of the paper's: corruptions, losses, averages."""

"""The same mathematics with less work; skip it on first reading."""

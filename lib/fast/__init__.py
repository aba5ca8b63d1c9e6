"""The same mathematics with less work; skip it at first reading."""

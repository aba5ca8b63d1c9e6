"""From anomaly maps to numbers."""

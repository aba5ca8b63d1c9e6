"""From arrays to figures."""

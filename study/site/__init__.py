"""The study as static pages."""

"""The study: data, runs, scores, tables, figures and pages around the method in lib."""

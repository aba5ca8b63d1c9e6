"""Questions beyond the paper: other corruptions, equality separation, selection on test, scaling.

study/variants/ holds what is trained. `make beyond` trains the profile beyond (run.py), computes
the answers (summary.py) and renders the notebooks.
"""

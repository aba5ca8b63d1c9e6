"""What the paper did not ask: other corruptions, selection on test, equality separation, scaling.

The method in lib/ stays the paper's. A variant is declared in params.yaml, and variants.py hands it
to the training. `make beyond` trains the profile beyond (run.py) and renders its notebooks.
"""

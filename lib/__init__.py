"""The parts of DeSTSeg (Zhang et al., CVPR 2023, arXiv 2211.11317) that the notebooks call."""

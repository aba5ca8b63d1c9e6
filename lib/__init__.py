"""The method: DeSTSeg (Zhang et al., CVPR 2023, arXiv 2211.11317).

Read the modules in this order: networks, losses, corruption, anomaly_map, batches, training,
inference; then backbones and devices. `fast` is the same mathematics with less work; skip it at
first reading.
"""

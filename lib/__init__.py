"""DeSTSeg (Zhang et al., CVPR 2023, arXiv 2211.11317), to be read in this order:

1. networks      teacher, student, segmentation network; assembled at the end as DeSTSeg
2. losses        cosine distance, focal and L1
3. corruption    Perlin masks with textures; flips and rotation of normal images
4. anomaly_map   the fused cosine map and the image score
5. batches       the endless stream of training images
6. training      two phases over one loop
7. inference     from images to teacher levels, or to both maps
8. backbones     timm backbones and their weights, checked
9. devices       device, precision, arithmetic

fast/ holds the same mathematics with less work; skip it on first reading. Nothing here imports
study/, which turns the method into a study.
"""

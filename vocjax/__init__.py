"""PASCAL VOC in functional JAX: autoencoders, classification and segmentation, reproducibly."""

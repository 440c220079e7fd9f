"""Files to batches: devkits, the TFDS builder, splits, augmentation."""

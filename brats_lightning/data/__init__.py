"""What goes in: cases, splits, preprocessing, augmentation, the cache and the data module."""

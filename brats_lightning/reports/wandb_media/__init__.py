"""What W&B shows besides curves: images with masks, surfaces, the workspace of a project."""

"""What learns: the segmentation module and its callbacks."""

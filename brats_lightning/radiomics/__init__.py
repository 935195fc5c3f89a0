"""Volumes, diameters, shape, intensity and texture of segmented regions: one row a case and region."""

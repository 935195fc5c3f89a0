"""Synthetic cases: anatomy, tumours, a scanner, and the BraTS folder they are written to."""

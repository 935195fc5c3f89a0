"""How good: pure functions of masks and spacing, and the torchmetrics shell around them."""

"""Trained networks for other programs: TorchScript, torch.export, ONNX, MONAI bundles."""

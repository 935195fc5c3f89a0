"""Brain-tumour segmentation on BraTS with PyTorch Lightning and MONAI."""

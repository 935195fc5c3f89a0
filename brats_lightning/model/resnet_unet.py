"""A U-Net whose encoder is a ResNet with the layers of torchvision's, so that it can begin with their weights."""

from collections.abc import Sequence

from monai.networks.nets import FlexibleUNet, ResNet
from torch import Tensor

from brats_lightning.errors import ConfigError

BACKBONES = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}
"""Kind of block, and how many in each of the four stages: He et al., CVPR 2016."""


class ResNetEncoder(ResNet):
    """The stages of a ResNet as a U-Net's encoder.

    Args:
        in_channels: Of the images.
        backbone: Name of `BACKBONES`.
        spatial_dims: 2 or 3.
    """

    def __init__(self, in_channels: int, *, backbone: str, spatial_dims: int) -> None:
        block, layers = BACKBONES[backbone]
        super().__init__(
            block,
            list(layers),
            [64, 128, 256, 512],
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            bias_downsample=False,
            feed_forward=False,
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of the five stages, each with half as many pixels along each side as the one before."""
        features = [self.act(self.bn1(self.conv1(image)))]
        features.append(self.layer1(self.maxpool(features[0])))
        for stage in (self.layer2, self.layer3, self.layer4):
            features.append(stage(features[-1]))
        return features


class ResNetUNet(FlexibleUNet):
    """MONAI's `FlexibleUNet` with a ResNet of torchvision's layers as its encoder.

    MONAI's own `resnet18` and `resnet34` cut off pixels and pad channels where a stage halves the image, through a
    tensor without gradient; torchvision's have a convolution and a norm there, whose weights would have no place.
    The sides of images must be multiples of 32.

    Args:
        in_channels: Of the images.
        out_channels: Of the logits.
        backbone: Name of `BACKBONES`.
        decoder_channels: Of the five stages of the decoder.
        spatial_dims: 2 or 3.
        dropout: Share of the decoder's features that are dropped in training.

    Raises:
        ConfigError: No such backbone, or another number of stages.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        backbone: str = "resnet34",
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        spatial_dims: int = 2,
        dropout: float = 0.0,
    ) -> None:
        if backbone not in BACKBONES:
            raise ConfigError(f"ResNetUNet: backbone is {backbone!r}: expected one of {', '.join(BACKBONES)}")
        if len(decoder_channels) != 5:
            raise ConfigError(f"ResNetUNet: decoder_channels are {list(decoder_channels)}: expected five, one a stage")
        super().__init__(
            in_channels,
            out_channels,
            backbone,
            decoder_channels=tuple(decoder_channels),
            spatial_dims=spatial_dims,
            dropout=dropout,
        )
        self.encoder = ResNetEncoder(in_channels, backbone=backbone, spatial_dims=spatial_dims)

"""DnCNN: a plain convolutional net that estimates the noise of an image, and takes it off."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_rs.checks import check_at_least
from lightning_rs.models.denoiser import Denoiser


class DnCNN(nn.Module):
    """x - net(x), for x of shape (rows, channels, height, width): images in, as many of the same shape out.

    The net: a convolution and ReLU, depth - 2 times convolution, batch norm and ReLU, and a convolution, all 3x3.
    Parameter names are those of the field's checkpoints.

    Source: K. Zhang, W. Zuo, Y. Chen, D. Meng, L. Zhang, "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for
    Image Denoising", 2017; before a classifier: H. Salman, M. Sun, G. Yang, A. Kapoor, J. Z. Kolter, "Denoised
    Smoothing: A Provable Defense for Pretrained Classifiers", 2020.

    Args:
        channels: of the images.
        depth: number of convolutions, at least 2.
        width: channels between them.
    """

    def __init__(self, channels: int, depth: int = 17, width: int = 64) -> None:
        super().__init__()
        depth, width = check_at_least("depth", depth, 2), check_at_least("width", width, 1)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(width)]
            layers += [nn.ReLU(inplace=True)]
        self.dncnn = nn.Sequential(*layers, nn.Conv2d(width, channels, kernel_size=3, padding=1, bias=False))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return x - self.dncnn(x)


DNCNN = Denoiser("dncnn", lambda images, depth=17, width=64: DnCNN(images.shape[0], depth, width))

"""Convolutions that know where a panorama goes on: beyond its sides, and beyond its poles.

What surrounds an image is a property of its camera. The left edge of a whole panorama meets its
right one. Beyond a pole the picture runs back, half a turn away. So a convolution there sees no
border, and commutes with turns of the panorama.

Legend: F images, C channels, h w size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from worldsim.cameras.sphere import wrap_pad
from worldsim.spec import EQUIRECTANGULAR, CameraSpec

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Surround:
    """How images go on beyond their borders.

    Attributes:
        wrap: the left edge meets the right one.
        poles: the upper and lower edges are the poles of a sphere.
    """

    wrap: bool = False
    poles: bool = False

    @staticmethod
    def of(cameras: Sequence[CameraSpec]) -> "Surround":
        """What all cameras of a world have in common; their images share all weights."""
        spheres = (c.projection == EQUIRECTANGULAR and c.width == 2 * c.height for c in cameras)
        wrap = all(camera.wrap for camera in cameras)
        return Surround(wrap, wrap and all(spheres))

    def pad(self, images: Tensor, pad: int) -> Tensor:
        """Images `[F, C, h, w]` continued by `pad` on every side; zeros where nothing is known."""
        if not self.wrap:
            return nn.functional.pad(images, (pad, pad, pad, pad))
        wide = wrap_pad(images, pad, self.poles)
        return wide if self.poles else nn.functional.pad(wide, (0, 0, pad, pad))


class SurroundConv2d(nn.Conv2d):
    """A convolution whose padding is what surrounds the image; its weights are those of any."""

    surround = Surround()

    def forward(self, x: Tensor) -> Tensor:
        """`[F, C, h, w]`, as `nn.Conv2d` of the same sizes."""
        pad = self.padding[0]
        assert isinstance(pad, int)
        return nn.functional.conv2d(
            self.surround.pad(x, pad),
            self.weight,
            self.bias,
            self.stride,
            0,
            self.dilation,
            self.groups,
        )


def surround_convolutions(network: Module, cameras: Sequence[CameraSpec]) -> Module:
    """Have every padded convolution of `network` see what surrounds images of these cameras.

    Pinhole images end at their borders, and such a network stays as it is. Weights are shared with
    the convolutions that are replaced, so their names and files stay the same.
    """
    surround = Surround.of(cameras)
    if surround.wrap:
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.Conv2d and child.padding != (0, 0):
                    setattr(parent, name, _surrounded(child, surround))
    return network


def _surrounded(plain: nn.Conv2d, surround: Surround) -> SurroundConv2d:
    """The same convolution, padded by what surrounds images."""
    conv = SurroundConv2d.__new__(SurroundConv2d)
    conv.__dict__.update(plain.__dict__)
    conv.surround = surround
    return conv

"""What backbones share whose network `diffusers` defines and others trained.

The network keeps its names and sizes, so that published weights fit as they are. What is new stands
in layers beside it, which begin at zero. Without weights, its output is a residual as any
backbone's. With them it means what it was trained to mean, noise and all.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from worldsim.errors import MissingExtraError, UsageError
from worldsim.models.blocks import zero_init
from worldsim.models.denoisers.base import Denoiser, DenoiserConfig, DenoiserShape
from worldsim.models.denoisers.conditioning import FrameConditioner
from worldsim.models.published import Source

ADAPTED = ("to_q", "to_k", "to_v", "to_out.0")
"""Layers of diffusers' attention that adapters are beside."""
ADAPTER = "lora_"
"""In the name of every weight of an adapter."""


class PublishedDenoiser(Denoiser):
    """A backbone around a network of diffusers.

    A subclass names its class, arguments and last layer, and computes the residual by its parts.

    Attributes:
        net: the network.
        part: the folder of such a network in a pipeline's.
        last: its last layer, which begins at zero where nothing is published.
    """

    part: ClassVar[str]
    last: ClassVar[str]

    def __init__(self, config: DenoiserConfig, shape: DenoiserShape) -> None:
        super().__init__(config, shape)
        published = config.published
        self.predicts_residual = published.weights is None
        self.conditioner = FrameConditioner(
            shape.action_dim, shape.state_dim, shape.views, config.cond_width, jumps=config.jumps
        )
        self.net: Any = self.network()(**self.sizes())
        zero_init(self.net.get_submodule(self.last))
        if published.rank:
            add_adapters(self.net, published.rank)
        if published.checkpointing:
            self.net.enable_gradient_checkpointing()

    @staticmethod
    def network() -> Any:
        """The class of diffusers, imported where it is asked for."""
        raise NotImplementedError("a published denoiser names its class")

    def sizes(self) -> dict[str, Any]:
        """Arguments of the class."""
        raise NotImplementedError("a published denoiser says its sizes")

    def take_weights(self) -> None:
        """See `Denoiser.take_weights`."""
        reference, network = self.config.published.weights, self.network()
        if reference is None:
            return
        source = Source.of(reference, self.part, network)
        source.require(network, self.sizes())
        own = self.net.state_dict()
        adapters = {name: weight for name, weight in own.items() if ADAPTER in name}
        # A layer with an adapter beside it is called otherwise.
        ours = {name.replace(".base_layer", ""): name for name in own if name not in adapters}
        taken = {ours.get(name, name): weight for name, weight in source.tensors().items()}
        source.fill(self.net, adapters | taken)

    def freeze(self) -> None:
        """See `Denoiser.freeze`.

        Raises:
            UsageError: the config names what no parameter's name holds.
        """
        words = (ADAPTER,) if self.config.published.rank else self.config.published.trained
        named = list(self.net.named_parameters())
        for word in words:
            if not any(word in name for name, _ in named):
                raise UsageError(
                    f"model.denoiser.published.trained names {word!r}, and no parameter of "
                    f"{self.config.name} is called so; names are such as {named[0][0]!r} and "
                    f"{named[len(named) // 2][0]!r}"
                )
        for name, parameter in named:
            parameter.requires_grad_(not words or any(word in name for word in words))

    def map_weights(self) -> Tensor | None:
        """See `Denoiser.map_weights`: those of the layer `maps` beside the first."""
        weight: Tensor | None = getattr(getattr(self, "maps", None), "weight", None)
        return weight

    def split(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frame, predecessors `[B, T, V, R*c, h, w]` oldest first, and maps, of the inputs."""
        channels, maps = self.shape.channels, self.shape.map_channels
        sizes = [channels, self.config.history * channels, maps]
        frame, before, shown = torch.split(inputs, sizes, dim=3)
        return frame, before, shown


def add_adapters(net: nn.Module, rank: int) -> None:
    """Put low-rank adapters beside the attention of a network, in place; they begin at nothing.

    Raises:
        MissingExtraError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError("peft", "lora") from error
    layers = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(ADAPTED))
    inject_adapter_in_model(layers, net)


def new_channels(channels: int, width: int, size: int, stride: int = 1) -> nn.Conv2d | None:
    """A layer beside a network's first, for `channels` that it was not trained on; zero at first.

    Args:
        channels: None are needed where it is 0.
        width: of the first layer's output.
        size: of its kernel.
        stride: of its kernel.
    """
    if not channels:
        return None
    padding = size // 2 if stride == 1 else 0
    layer = nn.Conv2d(channels, width, size, stride, padding, bias=False)
    torch.nn.init.zeros_(layer.weight)
    return layer

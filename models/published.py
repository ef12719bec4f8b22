"""Networks that others published, in the folders that `diffusers` writes.

A folder holds `config.json` and safetensors; that of a pipeline has one below for every network,
such as `unet` or `vae`. The reader decides what is built: a folder's config is compared with that,
and never names a class to import. Pickled weights are not read.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from worldsim.config.limits import Text, Whole
from worldsim.config.values import Checked
from worldsim.errors import DataError, UsageError
from worldsim.files import read_json
from worldsim.models.pretrained import locate
from worldsim.models.weights import CONFIG, read_config

STEM = "diffusion_pytorch_model"
FILE = f"{STEM}.safetensors"
INDEX = f"{FILE}.index.json"
WANTED = (CONFIG, FILE, INDEX, f"{STEM}-*.safetensors")


@dataclass(frozen=True)
class PublishedConfig(Checked):
    """How a network that others published is taken and trained further.

    Attributes:
        weights: a folder that diffusers wrote, of the network or of its pipeline, or
            `hub:owner/name@revision`; null begins at random. What they were trained to put out then
            holds too, see `worldsim.models.denoisers.published`.
        feed_forward: hidden channels of a transformer's feed-forward layers; 0 is four widths.
        trained: which parameters of the published network are trained, by what their names hold
            (`temporal`, `attn1`); none named trains all. What is new is always trained.
        rank: of low-rank adapters (LoRA, 2106.09685) of its attention, which then are trained in
            its place; 0 has none.
        checkpointing: whether training computes activations anew instead of keeping them.
    """

    weights: Text | None = None
    feed_forward: Whole = 0
    trained: tuple[Text, ...] = ()
    rank: Whole = 0
    checkpointing: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights is None and (self.rank or self.trained):
            raise UsageError(
                "published.rank and published.trained leave a network as it was trained elsewhere, "
                "and without published.weights it is random; name weights, or train all of it"
            )
        if self.rank and self.trained:
            raise UsageError(
                f"published.rank={self.rank} trains adapters alone, and published.trained names "
                f"{', '.join(self.trained)}; give one of them"
            )


@dataclass(frozen=True, eq=False)
class Source:
    """Weights on disk.

    Attributes:
        folder: of one network.
        config: its config.json.
    """

    folder: Path
    config: dict[str, Any]

    @staticmethod
    def of(reference: str, part: str, network: Callable[..., nn.Module]) -> "Source":
        """What a name stands for.

        Args:
            reference: see `PublishedConfig.weights`.
            part: the network's folder in a pipeline's.
            network: the class that wrote it.

        Raises:
            UsageError: nothing of that name exists, or another network is in it.
            DataError: its config cannot be read.
        """
        patterns = [f"{below}{name}" for below in ("", f"{part}/") for name in WANTED]
        folder = locate(reference, patterns=patterns)
        folder = folder / part if (folder / part).is_dir() else folder
        config = read_config(folder)
        found, wanted = config.get("_class_name"), getattr(network, "__name__", "")
        if found != wanted:
            raise UsageError(
                f"{folder / CONFIG} describes {found!r}, expected a {wanted!r} in diffusers' "
                f"layout, or a pipeline's folder with one in {part}/"
            )
        return Source(folder, config)

    def require(self, network: Callable[..., nn.Module], sizes: Mapping[str, Any]) -> None:
        """Refuse weights of other sizes.

        Args:
            network: the class, whose defaults hold for what the config leaves out.
            sizes: arguments of the class that ours is made by.

        Raises:
            UsageError: names what differs.
        """
        defaults = inspect.signature(network).parameters
        wrong = []
        for name, value in sizes.items():
            there, ours = _plain(self.config.get(name, defaults[name].default)), _plain(value)
            if there != ours:
                wrong.append(f"{name} is {there}, and the model's is {ours}")
        if wrong:
            raise UsageError(
                f"weights in {self.folder} are of another network: {'; '.join(wrong)}. Give the "
                "model these sizes, or other weights"
            )

    def tensors(self) -> dict[str, Tensor]:
        """All of them by name.

        Raises:
            DataError: files are missing or truncated.
        """
        index, tensors = self.folder / INDEX, dict[str, Tensor]()
        names = sorted(set(_shards(index))) if index.is_file() else [FILE]
        for name in names:
            path = self.folder / name
            if not path.is_file():
                raise DataError(
                    f"no weights at {path}; only safetensors are read, so have diffusers save "
                    "others anew: save_pretrained(folder, safe_serialization=True)"
                )
            try:
                tensors |= load_file(str(path))
            except SafetensorError as error:
                raise DataError(f"{path} is not a whole safetensors file ({error})") from error
        return tensors

    def fill(self, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Put `tensors` into a network of the same names, in its own precision.

        Raises:
            DataError: they do not fit.
        """
        try:
            network.load_state_dict(dict(tensors))
        except RuntimeError as error:
            text = " ".join(str(error).split())[:400]
            raise DataError(f"weights in {self.folder} do not fit their config: {text}") from error


def _shards(index: Path) -> list[str]:
    """Names of the files that an index spreads a network over."""
    data = read_json(index)
    named = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(named, dict) or not named:
        raise DataError(f"{index} names no files; expected a weight_map from tensors to files")
    names = [str(name) for name in named.values()]
    for name in names:
        if Path(name).name != name:
            raise DataError(f"{index} names {name!r}, which is no file beside it")
    return names


def _plain(value: Any) -> Any:
    """A value as JSON has it, so that tuples and lists are alike."""
    return json.loads(json.dumps(value))

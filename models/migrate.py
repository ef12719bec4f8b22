"""What older versions wrote, brought to what this one reads: configs and names of weights.

A stored config says its version (`config_version`; 1 where it says none). Each version has one
function here that turns the config before it into its own. Files are never rewritten; what they
hold is migrated whenever it is read.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from worldsim.errors import UsageError

CONFIG_VERSION = 3
"""Of the world models that this version writes."""

Value = TypeVar("Value")
Config = dict[str, Any]


def migrated_config(config: Config, version: object, where: str) -> Config:
    """The config of a world model as this version has it.

    Args:
        config: as it was stored.
        version: what it says of itself, None if it says nothing.
        where: the file, for messages.

    Raises:
        UsageError: it was written by a later version.
    """
    found = 1 if version is None else version
    if not isinstance(found, int) or not 1 <= found <= CONFIG_VERSION:
        raise UsageError(
            f"{where} has config_version {found!r}, and this worldsim reads 1 to {CONFIG_VERSION}; "
            "update worldsim, or train the model again"
        )
    for step in _STEPS[found - 1 :]:
        config = step(dict(config))
    return config


def migrated_weights(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """Tensors under the names that this version gives them."""
    return {_RENAMED.get(name, name): tensor for name, tensor in tensors.items()}


def _named(config: Config) -> Config:
    """Version 2: dynamics and conditioners are chosen by name; before, there was one kind."""
    config = config | {"dynamics": {"name": "contact", **config.get("dynamics", {})}}
    if not config.pop("bodies", True):
        raise UsageError(
            "this model was trained with model.bodies=false by an earlier worldsim, whose weights "
            "this one cannot use; train it again with model.conditioners=[] and "
            "model.condition_on_state=false"
        )
    return config | {"conditioners": ["effector", "objects", "rays", "outlines"]}


def _tokenizer(config: Config) -> Config:
    """Version 3: the tokenizer's sizes are called that, whichever kind it is."""
    if "autoencoder" in config:
        config["tokenizer"] = config.pop("autoencoder")
    return config


_STEPS: tuple[Callable[[Config], Config], ...] = (_named, _tokenizer)
_RENAMED = {
    "dynamics.step": "dynamics.step_size",
    "step": "step_size",  # in a file that holds dynamics alone
    "denoiser.conditioner.body.weight": "denoiser.conditioner.state.weight",
    "denoiser.conditioner.body.bias": "denoiser.conditioner.state.bias",
}
"""Version 2."""

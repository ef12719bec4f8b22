"""Mappings that the configs leave empty, for keys that nobody can list: these take any."""

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf


def open_mappings(overrides: Sequence[str], base: DictConfig) -> list[str]:
    """Overrides as Hydra wants them where they set or fill a mapping that is empty in the config.

    `env.source_kwargs={seed: 3}` and `factors.light=1` need no `+`: what stands before the keys is
    there, and empty in order to be filled.

    Args:
        overrides: as typed.
        base: the config composed without the overrides of plain keys.
    """
    return [f"++{text}" if _fills(text, base) else text for text in overrides]


def _fills(text: str, base: DictConfig) -> bool:
    key, _, value = text.partition("=")
    if text[0] in "+~" or not value:
        return False
    node = base
    for part in key.strip().split("."):
        if not OmegaConf.is_dict(node):
            return False
        if not node:
            return True
        node = OmegaConf.select(node, part, throw_on_missing=False)
    return OmegaConf.is_dict(node) and not node and value.strip().startswith("{")

"""Names of files and folders stay as they were typed, although Hydra reads some as numbers.

A folder called 20261126 would become a number, and 2026_11_26 the same one.
"""

import re

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

TEXT_KEYS = frozenset(
    {"also", "cache", "checkpoint", "csv", "dataset", "judge", "model", "name", "out", "path"}
    | {"reuse", "root", "roots", "source", "start_from", "title", "transfer_from"}
)
"""Last parts of the keys whose values are names or paths, or lists of them."""
_WORD = re.compile(r"[\w.+-]+")


def keep_texts(overrides: list[str]) -> list[str]:
    """Overrides with those names quoted that Hydra would read as numbers or switches."""
    return [_kept(text) for text in overrides]


def _kept(text: str) -> str:
    key, sign, value = text.partition("=")
    if key.split(".")[-1].strip().lstrip("+~") not in TEXT_KEYS:
        return text
    bare = value.strip()
    if bare.startswith("[") and bare.endswith("]"):
        items = ",".join(_quoted(item.strip()) for item in bare[1:-1].split(","))
        return f"{key}{sign}[{items}]"
    return f"{key}{sign}{_quoted(bare)}" if bare else text


def _quoted(word: str) -> str:
    """`word` in quotes if it is a single one that would be no text, and not null."""
    if not _WORD.fullmatch(word) or word == "null":
        return word
    try:
        value = OverridesParser.create().parse_override(f"key={word}").value()
    except HydraException:
        return word
    return word if isinstance(value, str) else f"'{word}'"

"""Published weights of a feature network: read by path, known by their SHA-256."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from worldsim.errors import DataError

SHORTEST_PIN = 8
"""Digits that tell one file from another by mistake; a whole hash also does by intent."""


@dataclass(frozen=True)
class WeightsFile:
    """A file and what it is known to be.

    Attributes:
        path: .safetensors, or what `torch.save` wrote.
        sha256: hexadecimal digits that its hash must begin with; None takes any.
    """

    path: Path
    sha256: str | None = None

    def digest(self) -> str:
        """The file's SHA-256.

        Raises:
            DataError: there is no such file, or it is another than was pinned.
        """
        try:
            with self.path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"no weights can be read at {self.path} ({error})") from error
        if self.sha256 is not None and not found.startswith(self.sha256.lower()):
            raise DataError(
                f"{self.path} has SHA-256 {found}, expected {self.sha256}: it is another file than "
                "was pinned; get that one, or pin this one if it is the one you mean"
            )
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name; nothing in the file is run.

        Raises:
            DataError: it holds something else.
        """
        from safetensors.torch import load_file

        try:
            if self.path.suffix == ".safetensors":
                return load_file(self.path)
            held = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # a torn pickle fails in whatever way its next byte says
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise DataError(
                f"{self.path} holds no plain weights ({reason}); expected .safetensors, or a state "
                "dict that torch.save wrote (TorchScript is code and is not run)"
            ) from error
        if not isinstance(held, dict) or not all(isinstance(t, Tensor) for t in held.values()):
            raise DataError(f"{self.path} holds {type(held).__name__}, expected a state dict")
        return dict(held)


def fill(network: nn.Module, file: WeightsFile, unused: tuple[str, ...], how: str) -> nn.Module:
    """The network with the weights of a file, in evaluation mode and without gradients.

    Args:
        network: whose names are those of the file.
        file: the weights.
        unused: beginnings of names that may be in the file and are not needed.
        how: where such a file comes from, for errors.

    Raises:
        DataError: names or shapes are others.
    """
    held = {n: t.float() for n, t in file.tensors().items() if not n.startswith(unused)}
    # Counts of batches say nothing of a finished network, and old files have none.
    counter = "num_batches_tracked"
    wanted = {n: t.shape for n, t in network.state_dict().items() if not n.endswith(counter)}
    found = {n: t.shape for n, t in held.items() if not n.endswith(counter)}
    wrong = sorted(name for name in wanted if found.get(name) != wanted[name])
    if wrong or (wrong := sorted(set(found) - set(wanted))):
        raise DataError(
            f"{file.path} does not fit {type(network).__name__}: {len(wrong)} names are missing, "
            f"unknown or of another shape, the first is {wrong[0]}; {how}"
        )
    network.load_state_dict({name: held[name] for name in wanted}, strict=False)
    return network.eval().requires_grad_(False)

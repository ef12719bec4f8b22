"""What is to be imported, and whether it was already."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.data.action_evidence import ActionEvidence
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.importing.formats import kind_of
from worldsim.data.importing.source import SourceOptions
from worldsim.data.layout import INFO, own_entry, read_info
from worldsim.data.selection import Selection
from worldsim.data.video import VideoCodec
from worldsim.errors import UsageError
from worldsim.files import read_json
from worldsim.spec import ActionFrame, ActionMode


@dataclass(frozen=True)
class ImportConfig:
    """What is imported, and how.

    Attributes:
        source: file or folder.
        kind: a name of `IMPORTERS`; None finds it.
        options: what the user says of the source.
        episodes: which of the source's, by their place in it.
        stride: observations from one kept to the next.
        idle: observations kept of a stretch in which nothing happens; None keeps all.
        faulty: whether an episode that cannot be read ends the import, or is left out.
        mode: of the action; None takes what its evidence says.
        frame: likewise.
        commanded: likewise.
        rig: file of calibration, for episodes that have none of their own.
        codec: how films are encoded.
    """

    source: Path
    kind: str | None = None
    options: SourceOptions = field(default_factory=SourceOptions)
    episodes: Selection = field(default_factory=Selection)
    stride: int = 1
    idle: int | None = None
    faulty: Literal["stop", "skip"] = "stop"
    mode: ActionMode | None = None
    frame: ActionFrame | None = None
    commanded: bool | None = None
    rig: Path | None = None
    codec: VideoCodec = field(default_factory=VideoCodec)

    def displacements(self, evidence: ActionEvidence) -> NDArray[np.bool_]:
        """`[A]` entries of the action that say by how much to move."""
        if self.mode is not None:
            return np.full(len(evidence.entries), self.mode == "delta")
        return np.array([entry.mode == "delta" for entry in evidence.entries], bool)

    def calibration(self) -> CameraRig | None:
        """What `rig` holds.

        Raises:
            UsageError: it is no calibration.
        """
        if self.rig is None:
            return None
        try:
            rig = CameraRig.from_json(read_json(self.rig))
            shapes = [np.shape(each) for each in (rig.intrinsics, rig.extrinsics, rig.mounted)]
            count = len(rig.names)
            if shapes != [(count, 3, 3), (count, 4, 4), (count,)]:
                raise ValueError(f"shapes are {shapes} for {count} names")
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"rig is '{self.rig}', which is no calibration ({error}); expected JSON of names, "
                "intrinsics [V,3,3], extrinsics [V,4,4] and mounted [V]"
            ) from error
        return rig

    def to_json(self, kind: str) -> dict[str, Any]:
        """Plain JSON types; two imports of one text give one data set."""
        plain = asdict(self) | {"source": str(self.source.resolve()), "kind": kind}
        plain["rig"] = None if self.rig is None else str(self.rig.resolve())
        return {"import": {key: value for key, value in plain.items() if key != "faulty"}}


def already_imported(config: ImportConfig, out: Path) -> LeRobotDataset | None:
    """The data set at `out`, if the same import has been finished there."""
    if not (out / INFO).exists():
        return None
    asked = config.to_json(config.kind or kind_of(config.source))
    found = own_entry(read_info(out)).get("collection")
    return LeRobotDataset(out) if found == _plain(asked) else None


def _plain(value: Any) -> Any:
    """As JSON reads it: tuples become lists."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value

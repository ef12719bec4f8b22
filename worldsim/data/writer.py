"""LeRobotWriter: episodes in, a LeRobot v3.0 data set out, never half of one."""

import os
import shutil
from pathlib import Path
from typing import Any

from worldsim.data.assemble import Assembler
from worldsim.data.episode import Episode
from worldsim.data.features import own_features
from worldsim.data.layout import INFO, Limits, Progress
from worldsim.data.split import folds_by_index
from worldsim.data.staging import Staging
from worldsim.data.video import VideoCodec
from worldsim.errors import UsageError
from worldsim.files import FileLock, disk_errors, in_use
from worldsim.spec import WorldSpec


class LeRobotWriter:
    """Collects episodes at `root` and assembles them in the end.

    Every episode that `add` returned from survives a kill; opening the same root with the same
    arguments continues. `finalize` writes the data set and removes the staging area.

    Args:
        root: data set folder; created if absent.
        spec: the world of every episode.
        env_info: {"id", "kwargs"} of the environment, stored in info.json.
        collection: settings that determine the episodes; another value is another collection.
        codec: how videos are encoded.
        limits: when files are full.

    Raises:
        UsageError: a finished data set, another collection, or another process is at `root`.
    """

    def __init__(
        self,
        root: Path,
        spec: WorldSpec,
        env_info: dict[str, Any] | None = None,
        collection: dict[str, Any] | None = None,
        codec: VideoCodec | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.root, self.spec = root, spec
        self.codec, self.limits = codec or VideoCodec(), limits or Limits()
        self.info: dict[str, Any] = {"spec": spec.to_json(), "env": env_info or {}}
        if collection is not None:
            self.info["collection"] = collection
        if (root / INFO).exists():
            raise UsageError(
                f"{root} already holds a finished data set; write elsewhere and join them with "
                "`worldsim data merge`"
            )
        self.staging = Staging(root)
        with disk_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            try:
                self._lock = FileLock(root / ".lock", wait=False)
            except BlockingIOError as error:
                raise in_use(root) from error
            request = {"spec": self.info["spec"], "env": env_info, "collection": collection}
            self.staging.open(request)

    def add(self, episode: Episode, index: int | None = None) -> int:
        """Make an episode durable; returns its index (by default the next free one).

        Raises:
            UsageError: the episode does not fit the spec.
            DiskFullError: no space left; earlier episodes are intact.
        """
        if index is None:
            index = max(self.staging.finished(), default=-1) + 1
        self.staging.add(index, episode, self.spec, self.codec)
        return index

    def finalize(self, progress: Progress | None = None) -> Path:
        """Assemble the data set, publish it, drop the staging area; returns `root`.

        Raises:
            UsageError: there is no episode, or an index is missing.
            DiskFullError: no space left; the staged episodes are intact.
        """
        indices = self.staging.finished()
        if indices != list(range(len(indices))) or not indices:
            raise UsageError(
                f"{self.root}: episodes {indices[:5]}... do not run from 0 without gaps; "
                "nothing can be assembled"
            )
        building = self.root / ".assembling"
        with disk_errors(self.root):
            try:
                shutil.rmtree(building, ignore_errors=True)
                self._assemble(building, len(indices), progress)
                publish(building, self.root)
            finally:
                shutil.rmtree(building, ignore_errors=True)
        self.staging.clear()
        self.close()
        return self.root

    def _assemble(self, building: Path, count: int, progress: Progress | None) -> None:
        assembler = Assembler(
            building,
            self.spec.fps,
            own_features(self.spec, self.codec),
            {"worldsim": self.info},
            self.limits,
        )
        for index, fold in enumerate(folds_by_index(range(count))):
            assembler.add(self.staging.source(index, self.spec, fold))
            if progress is not None:
                progress(index + 1, count)
        assembler.close()

    def close(self) -> None:
        """Let another process continue here."""
        self._lock.close()


def publish(building: Path, root: Path) -> None:
    """Move a finished data set into `root`; `meta`, which makes it one, comes last."""
    for part in ("data", "videos", "meta"):
        if (building / part).exists():
            shutil.rmtree(root / part, ignore_errors=True)
            os.replace(building / part, root / part)

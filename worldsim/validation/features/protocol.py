"""What a distance of clips was measured under, and the figure that it gave.

Two figures compare only where their protocols are equal.
"""

from dataclasses import dataclass
from typing import Any

from worldsim.ranking.bootstrap import Estimate
from worldsim.validation.features.compare import RECORDED, Comparison

MODEL, HELD = "model", "first_frame"
"""Worlds that are compared with the recorded one."""


@dataclass(frozen=True)
class ClipProtocol:
    """All that a distance depends on beside the model and the recordings.

    Attributes:
        measure: name of the Frechet distance.
        kernel_measure: name of the kernel distance.
        extractor: name of the feature network.
        file: of its weights; None without any.
        sha256: of that file.
        sample: what is one sample, `clip` or `frame`.
        resize: what was done to frames before.
        cameras: names, each compared alone.
        pixels: height and width of the frames compared.
        fps: frames a second of the recordings.
        length: frames of a clip.
        stride: steps from one to the next.
        first_steps: at which clips begin; step 1 follows the first frame, which is given.
        sampling_steps: denoising steps a frame.
        splits: halvings of the episodes.
    """

    measure: str
    kernel_measure: str
    extractor: str
    file: str | None
    sha256: str | None
    sample: str
    resize: str
    cameras: tuple[str, ...]
    pixels: tuple[int, int]
    fps: float
    length: int
    stride: int
    first_steps: tuple[int, ...]
    sampling_steps: int
    splits: int

    def text(self) -> str:
        """One line for people."""
        held = "no weights" if self.sha256 is None else f"{self.file} sha256 {self.sha256}"
        starts = ", ".join(map(str, self.first_steps))
        height, width = self.pixels
        return (
            f"{self.measure}: extractor {self.extractor} ({held}); a sample is a {self.sample}; "
            f"clips of {self.length} frames, {self.stride} steps apart at {self.fps:g} fps, from "
            f"step {starts}, the given first frame left out; {height}x{width} pixels, resized "
            f"{self.resize}; cameras {', '.join(self.cameras)}; {self.sampling_steps} denoising "
            f"steps; {self.splits} halvings. Few samples bias a {self.measure} upwards, and a "
            f"{self.kernel_measure} not"
        )


@dataclass(frozen=True)
class FilmFigure:
    """Distances at one camera and one place along the rollouts.

    Attributes:
        protocol: what was done.
        camera: name.
        first_step: of the clips.
        last_step: likewise.
        found: distances.
    """

    protocol: ClipProtocol
    camera: str
    first_step: int
    last_step: int
    found: Comparison

    def text(self) -> str:
        """One line for people."""
        found, halves = self.found, self.found.halves
        frechet, kernel = found.frechet, found.kernel
        line = (
            f"{self.protocol.measure} {self.camera}, steps {self.first_step} to {self.last_step}, "
            f"{found.samples} {self.protocol.sample}s of {found.episodes} episodes: "
            f"{_short(frechet[MODEL])}, the first frame held {_short(frechet[HELD])}; "
            f"{self.protocol.kernel_measure} {_short(kernel[MODEL])}, held {_short(kernel[HELD])}"
        )
        if halves is None:
            return line
        parts = (f"{_figure(halves.frechet[name])} {name}" for name in (MODEL, HELD, RECORDED))
        words = ", ".join(parts).replace(HELD, "held")
        return f"{line}; from the recordings of other episodes, {halves.samples} each: {words}"

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the protocol."""
        place = {"camera": self.camera, "steps": [self.first_step, self.last_step]}
        return {**place, **self.found.to_json()}


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4g}"


def _short(found: Estimate) -> str:
    if found.value is None or found.interval is None:
        return _figure(found.value)
    low, high = found.interval
    return f"{found.value:.4g} [{low:.4g}, {high:.4g}]"

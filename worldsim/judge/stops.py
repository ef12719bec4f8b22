"""A judge of stops: has who stops here reached what was asked of it?

It reads the frame and the sub-task under way, of which `SubTaskTracker` keeps count. What it says
of any other action is 0: nothing is closed by it.

Legend: N observations, V view, H, W pixels, A action, S state.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.conventions import to_model_video
from worldsim.data.navigation.sub_tasks import stopping
from worldsim.errors import DataError, UsageError
from worldsim.files import write_json
from worldsim.judge.judge import (
    JUDGES,
    READ_AT_ONCE,
    Float,
    Judge,
    Judgement,
    JudgeParts,
    ObservedFrame,
    write_judge,
)
from worldsim.judge.report import EnvReference, JudgeReport, VerdictRule
from worldsim.judge.sampling import STOPS
from worldsim.judge.sub_tasks import SubTaskTracker
from worldsim.models.instructed import GlanceConfig, tokenise
from worldsim.models.padding import surround_convolutions
from worldsim.models.stop_reader import StopReader
from worldsim.models.weights import (
    CONFIG,
    WEIGHTS,
    load_weights,
    read_config,
    save_weights,
    shape_of,
)
from worldsim.spec import WorldSpec


@JUDGES.register(STOPS)
@dataclass(eq=False)
class StopJudge(Judge):
    """A trained network that reads the frame of a stop and what was asked.

    Attributes:
        reader: the network, in evaluation mode.
        spec: cameras and actions that it knows.
        rule: from probabilities to verdicts; a stop lasts one frame.
        report: error on held-out recorded stops.
        env: the simulator of those, or None if there was none.
    """

    reader: StopReader
    spec: WorldSpec
    rule: VerdictRule
    report: JudgeReport
    env: EnvReference | None = None
    reads_instructions = True

    def __post_init__(self) -> None:
        surround_convolutions(self.reader, self.spec.cameras)

    def read(self, observation: ObservedFrame, action: Float | None) -> Judgement:
        """See `Judge.read`.

        Raises:
            UsageError: somebody stops, and nobody tells what was asked.
        """
        count = len(observation.pixels)
        probability = np.zeros(count, np.float32)
        stops = np.zeros(count, bool)
        if action is not None:
            stops = stopping(self.spec.action, np.asarray(action, np.float32))
        if stops.any():
            if observation.asked is None:
                raise UsageError(
                    "a judge of stops reads what was asked, and nobody told it (`asked` of the "
                    "ObservedFrame is None); give starts with an instruction"
                )
            asked = [text for text, stop in zip(observation.asked, stops, strict=True) if stop]
            probability[stops] = probabilities(self.reader, observation.pixels[stops], asked)
        nothing = np.full((count, self.spec.state.dim), np.nan, np.float32)
        return Judgement(probability, np.zeros(count, np.float32), nothing)

    def tracker(self, num_episodes: int) -> SubTaskTracker:
        """See `Judge.tracker`."""
        return SubTaskTracker(self.rule, num_episodes, self.spec.action)

    def to(self, device: str | torch.device) -> "StopJudge":
        """Move the network; returns self."""
        self.reader.to(device)
        return self

    def save_pretrained(self, folder: Path) -> None:
        """Write the network, and `judge.json` with spec, rule and report."""
        save_weights(self.reader, folder / WEIGHTS)
        shape = {"glance": asdict(self.reader.config), "hidden": self.reader.hidden}
        write_json(folder / CONFIG, shape)
        write_judge(folder, STOPS, self)

    @classmethod
    def from_folder(cls, folder: Path, parts: JudgeParts) -> "StopJudge":
        """See `Judge.from_folder`.

        Raises:
            DataError: the config does not describe such a network.
        """
        config = read_config(folder)
        if not isinstance(config.get("glance"), dict) or not isinstance(config.get("hidden"), int):
            raise DataError(f"{folder / CONFIG} lacks 'glance' or 'hidden' of a judge of stops")
        glance = shape_of(GlanceConfig, config["glance"], folder, "a judge of stops")
        reader = StopReader(glance, config["hidden"])
        load_weights(reader, folder / WEIGHTS)
        return cls(reader.eval(), *parts)


@torch.inference_mode()
def probabilities(reader: StopReader, pixels: NDArray[np.uint8], asked: list[str]) -> Float:
    """Probability `[N]` that a stop meets its sub-task.

    Args:
        reader: in evaluation mode.
        pixels: uint8 `[N, V, H, W, 3]`.
        asked: N texts.
    """
    device, found = next(reader.parameters()).device, []
    for start in range(0, len(pixels), READ_AT_ONCE):
        part = slice(start, start + READ_AT_ONCE)
        rows = np.require(pixels[part], requirements=["C", "W"])
        frames = to_model_video(torch.from_numpy(rows).to(device))
        tokens = tokenise(asked[part], reader.config).to(device)
        found.append(torch.sigmoid(reader(frames, tokens).met).float().cpu().numpy())
    return np.concatenate(found) if found else np.zeros(0, np.float32)

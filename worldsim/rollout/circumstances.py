"""What is known of model, judge and starts beside a ranking's outcomes.

It stands before any figure, and is stored with the outcomes, since model and judge may go.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from worldsim.judge.gate import GateLimit
from worldsim.judge.judge import load_pretrained_judge
from worldsim.judge.report import JudgeReport
from worldsim.models.pretrained import SHIPPED
from worldsim.models.weights import WEIGHTS
from worldsim.models.world_model import WorldModel
from worldsim.policies.simple import keeps_still
from worldsim.rollout.dependencies import digest_file
from worldsim.rollout.eval_config import EvalConfig, RankingOptions
from worldsim.rollout.start_blocks import StartBlocks
from worldsim.training.run_folder import file_fingerprint


@dataclass(frozen=True)
class Circumstances:
    """Of model, judge and starts.

    Attributes:
        judge: the judge's measured error; on imagined frames, that on frames of this world model,
            in as many denoising steps.
        state_assisted: whether the world model had the simulator's state or progress.
        development_starts: whether the model was developed on some of these starts; None where
            that is not known.
        null_policy_moves: whether the actions of the null policy may move the robot.
        release: of a run on the release starts and pool, which one of these weights it is.
        gate: where imagined rollouts stop being reliable; None where nobody looked.
        depth_assisted: whether the world model had the simulator's depth.
    """

    judge: JudgeReport
    state_assisted: bool
    development_starts: bool | None
    null_policy_moves: bool
    release: str | None = None
    gate: GateLimit | None = None
    depth_assisted: bool = False

    @staticmethod
    def of(
        eval_config: EvalConfig, options: RankingOptions, blocks: StartBlocks, release: str | None
    ) -> "Circumstances":
        """As model and judge are now.

        Args:
            eval_config: what is compared.
            options: how it is ranked.
            blocks: which starts are development starts.
            release: see the attribute.

        Raises:
            WorldsimError: model or judge cannot be read.
        """
        model = WorldModel.from_pretrained(eval_config.model)
        judge = load_pretrained_judge(eval_config.judge).report
        weights = Path(eval_config.model) / WEIGHTS
        entry = eval_config.policies.get(options.null_policy or "") or {}
        return Circumstances(
            judge=as_used(judge, weights, eval_config.sampling_steps),
            state_assisted=model.state_assisted,
            development_starts=developed_on(eval_config, blocks),
            null_policy_moves=entry.get("kind") == "zero" and not keeps_still(model.spec),
            release=release,
            gate=eval_config.gated,
            depth_assisted=model.depth_assisted,
        )


def as_used(judge: JudgeReport, weights: Path, steps: int) -> JudgeReport:
    """Without what was measured on frames that are not imagined as those of a ranking are.

    Args:
        judge: what was measured.
        weights: file of the world model that imagines.
        steps: its denoising steps a frame, which change what a frame looks like.
    """
    imagined = judge.imagined
    if imagined is None:
        return judge
    alike = imagined.sampling_steps == steps and imagined.model == file_fingerprint(weights)
    return judge if alike else replace(judge, imagined=None)


def ships(weights: str) -> bool:
    """Whether weights with this digest are those of a model that ships."""
    return weights in {digest_file(file) for file in SHIPPED.glob(f"*/{WEIGHTS}")}


def developed_on(eval_config: EvalConfig, blocks: StartBlocks) -> bool | None:
    """Whether a model that ships was developed on some of the starts; None for other models."""
    plan = eval_config.starts
    if plan.dataset is not None or not ships(digest_file(Path(eval_config.model) / WEIGHTS)):
        return None
    return blocks.develops(plan)

"""One part of one's own in every registry, each a file and a row, trained, streamed and ranked.

The files are `tests/helpers/dummy_*.py`; `dummy_parts.py` registers them for a while.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dummy_parts import Parts, registered_dummies
from toy_room import PILLAR, REACH, Move
from toy_room_data import CAMERA, SPEC
from toy_room_world import Room, retaken, room_spec, seeker, spinner, write_retaken
from train_testing import train

from worldsim.cameras.projection import camera_rays, projections_of
from worldsim.cli.main import main
from worldsim.cli.rank_report import write_ranking
from worldsim.config.compose import build
from worldsim.data.episode import Episode
from worldsim.envs.imagination.engine import ImaginationEngine
from worldsim.envs.imagination.start import Start
from worldsim.errors import UsageError
from worldsim.files import read_json
from worldsim.judge.finding import judge_folder
from worldsim.judge.judge import load_pretrained_judge
from worldsim.judge.report import JudgeReport, VerdictRule
from worldsim.memory.base import MemoryConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.ranking.report import RankingReport
from worldsim.rollout.circumstances import Circumstances
from worldsim.rollout.episodes import RolloutBatch
from worldsim.rollout.eval_config import EvalConfig, RankingOptions, StartPlan
from worldsim.rollout.jobs import wanted_results
from worldsim.rollout.results import Job, Outcomes, read_outcomes, write_eval_config, write_result
from worldsim.rollout.rollouts import roll_out
from worldsim.rollout.worlds import BatchWorld, ImaginedWorld
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream
from worldsim.spec import CameraSpec

OF_A_STEP = {"camera", "conditioner", "denoiser", "dynamics", "memory"}
"""Dummies that an imagined step must enter; its first frame enters the tokenizer too."""
NAMED = (
    "model.tokenizer.name=shuffle",
    "model.tokenizer.channels=8",
    "model.denoiser.name=plain",
    "model.dynamics.name=unicycle",
    "model.conditioners=[turning,rays]",
    "model.memory.name=rolled",
    "plan.memory.name=recent",
    "plan.memory.frames=2",
)
QUICK = (
    "stage=all",
    "tokenizer.max_steps=6",
    "trainer.max_steps=6",
    "trainer.accumulate=1",
    "decoder.max_steps=2",
    "validation.films=0",
    "validation.swap=false",
    "validation.step_counts=[]",
)
HORIZON = 10
LEFT, RIGHT, FORWARD = (
    SPEC.action.vector(np.array([move]), "test") for move in (Move.LEFT, Move.RIGHT, Move.FORWARD)
)


@pytest.fixture(scope="module")
def parts() -> Iterator[Parts]:
    """Every dummy registered, and its one method counted."""
    with registered_dummies() as registered:
        yield registered


@dataclass(frozen=True)
class Run:
    """A trained nano model of the room, in its folder, and the dummies that training entered."""

    folder: Path
    entered: set[str]

    @property
    def model(self) -> WorldModel:
        return WorldModel.from_pretrained(self.folder / "model")


@pytest.fixture(scope="module")
def run(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained by names alone; its judge, which nothing can be trained on, is geometry."""
    root = Path(tmp_path_factory.mktemp("parts"))
    data = write_retaken(root / "data", "cylinder", 12, 6)
    folder = root / "run"
    code, entered = parts.entered(lambda: train(data, folder, *NAMED, *QUICK))
    assert code == 0
    report = JudgeReport(0, 0, 0, 0, None, 0.0, 0, 0, "geometry")
    judge = parts.modules["judge"].NearJudge(
        tuple(PILLAR.tolist()), REACH, room_spec("cylinder"), VerdictRule(), report
    )
    judge.save_pretrained(folder / "judge")
    return Run(folder, entered)


def begun(model: WorldModel, recorded: Episode) -> Stream:
    stream = Stream.of(model, Sampler.of(model, 1))
    rig = recorded.meta.rig
    assert rig is not None
    arrays = {name: getattr(rig, name)[None] for name in ("intrinsics", "extrinsics", "mounted")}
    stream.reset(recorded.pixels[CAMERA][:1, None], recorded.agent_pos[:1], arrays)
    return stream


def test_training_enters_every_part_that_a_model_has(run: Run) -> None:
    assert run.entered == OF_A_STEP | {"tokenizer"}
    model = run.model
    named = (model.tokenizer, model.denoiser, model.dynamics, *model.conditioners.rows)
    assert [type(part).__name__ for part in named] == [
        "Shuffle",
        "Plain",
        "Unicycle",
        "Turning",
        "Rays",
    ]
    assert model.latent_shape == (8, 6, 16)
    assert model.spec == room_spec("cylinder")
    # The floor that was walked on is all that these dynamics learn.
    assert 0 < model.dynamics.get_buffer("entered").sum() < 48


def test_a_stream_enters_them_and_goes_where_the_dynamics_say(run: Run, parts: Parts) -> None:
    recorded = retaken(3, 6, "cylinder")
    stream = begun(run.model, recorded)
    chunk, entered = parts.entered(lambda: stream.act(RIGHT))
    assert entered == OF_A_STEP
    shown, entered = parts.entered(lambda: begun(run.model, recorded).pixels())
    assert "tokenizer" in entered and shown.shape == (1, 1, 24, 64, 3)
    x, y, cos, sin = recorded.agent_pos[0]
    turn = SPEC.action.scale[Move.RIGHT]
    yaw = np.arctan2(sin, cos) - turn
    torch.testing.assert_close(
        chunk.agent_pos[0, 0], torch.tensor([x, y, np.cos(yaw), np.sin(yaw)]).float()
    )


def test_what_the_memory_tells_is_imagined(run: Run) -> None:
    model = run.model
    forgetful = WorldModel(replace(model.config, memory=MemoryConfig()), model.spec).eval()
    forgetful.load_state_dict(model.state_dict())
    forgetful.normalizer.load_json(model.normalizer.to_json())
    recorded = retaken(3, 6, "cylinder")
    one, other = (begun(which, recorded).act(LEFT).latents for which in (model, forgetful))
    assert one.shape == other.shape and not torch.equal(one, other)
    # A turn rolls what was shown, and the model, hardly trained, is near what it is told.
    shown = begun(model, recorded).newest
    rolled = shown.roll(round(SPEC.action.scale[Move.LEFT] / (2 * np.pi) * 16), dims=-1)
    errors = [(each[:, 0] - rolled).square().mean() for each in (one, other)]
    assert errors[0] < errors[1]


def test_forks_part_where_their_moves_do(run: Run) -> None:
    stream = begun(run.model, retaken(3, 6, "cylinder"))
    twin = stream.fork()
    one, other = stream.act(LEFT), twin.act(RIGHT)
    assert not torch.equal(one.latents, other.latents)
    again = begun(run.model, retaken(3, 6, "cylinder")).act(LEFT)
    assert torch.equal(again.latents, one.latents)


def test_what_is_saved_is_what_is_loaded(run: Run, tmp_path: Path) -> None:
    model = run.model
    model.save_pretrained(tmp_path / "saved")
    loaded = WorldModel.from_pretrained(tmp_path / "saved")
    streams = [begun(which, retaken(3, 6, "cylinder")) for which in (model, loaded)]
    one, other = (stream.act(FORWARD).latents for stream in streams)
    assert torch.equal(one, other)
    assert loaded.conditioners.channels[0] == "turning_sine"


def rolled_out(world: BatchWorld, starts: list[Start]) -> list[RolloutBatch]:
    return [roll_out(policy, world, starts, max_steps=HORIZON) for policy in (seeker(), spinner())]


def ranked(run: Run, out: Path) -> tuple[RankingReport, Outcomes]:
    """Two policies by their turns, from four starts, in the room and in imagination."""
    walks = [retaken(seed, 1, "cylinder") for seed in range(4)]
    starts = [
        Start(walk.pixels[CAMERA][:1], walk.agent_pos[0], walk.task, walk.meta.rig)
        for walk in walks
    ]
    model, place = run.model, judge_folder(None, run.folder / "model")
    judge = load_pretrained_judge(place)
    eval_config = EvalConfig(
        {"seeks": {}, "spins": {}},
        None,
        {},
        str(run.folder / "model"),
        str(place),
        StartPlan(len(starts)),
        max_steps=HORIZON,
    )
    wanted = wanted_results(eval_config, ("imagination", "simulator"))
    write_eval_config(
        out,
        eval_config,
        RankingOptions(metric="turns", null_policy=None, bootstrap_samples=50),
        Circumstances(judge.report, model.state_assisted, None, False),
        wanted,
    )
    worlds = (ImaginedWorld(ImaginationEngine(model, judge, 1)), Room(model.spec))
    for batch in [batch for world in worlds for batch in rolled_out(world, starts)]:
        job = Job(batch.policy, batch.world)
        write_result(out, job, wanted[job], batch)
    (out / "config.yaml").write_text("{}")
    report = write_ranking(out, {"title": "Room", "summary": ""}, films=0)
    return report, read_outcomes(out)


def test_policies_are_ranked_by_the_metric_as_the_judge_ends_their_episodes(
    run: Run, parts: Parts, tmp_path: Path
) -> None:
    (report, outcomes), entered = parts.entered(lambda: ranked(run, tmp_path))
    assert entered == set(parts.modules)
    assert report.metric.name == "turns" and "success" in report.others
    means = {policy.name: policy.imagined.value for policy in report.policies}
    assert means["seeks"] < means["spins"] == HORIZON
    assert "turns" in (tmp_path / "report.html").read_text()
    seeks, spins = outcomes.imagined
    # Who stops at the pillar is done. The data tell no success, so no other judge could say it.
    assert seeks.success.any() and not spins.success.any()
    assert (seeks.length[seeks.success] < HORIZON).all() and (spins.length == HORIZON).all()


def test_the_command_ranks_with_them_too(run: Run, parts: Parts, tmp_path: Path) -> None:
    """Against logged rates, from frames of the data; with the judge that lies in the run."""
    logged, out = tmp_path / "logged.csv", tmp_path / "out"
    logged.write_text("policy,successes,trials\nseeks,3,4\nspins,0,4\n")
    words = (
        "+policy.policies.seeks={kind: python, target: toy_room_world:seeker}",
        "+policy.policies.spins={kind: python, target: toy_room_world:spinner}",
        f"model={run.folder} judge={run.folder} out={out} reference.csv={logged}",
        f"starts.dataset={run.folder.parent / 'data'} starts.split=all starts.count=4",
        f"max_steps={HORIZON} workers=0 sampling_steps=1 films.starts=0 bootstrap_samples=50",
    )
    overrides = [*words[:2], "only=[seeks,spins]", *" ".join(words[2:]).split()]
    code, entered = parts.entered(lambda: main(["rank", *overrides]))
    assert code == 0
    assert entered == set(parts.modules)
    seeks = read_json(out / "results" / "imagination" / "seeks.json")["rollouts"]["outcomes"]
    assert any(seeks["success"]) and max(seeks["turns"]) > 0


@pytest.mark.parametrize(
    ("key", "value", "nearest"),
    [
        ("tokenizer", {"name": "shufle"}, "shuffle"),
        ("denoiser", {"name": "plane"}, "plain"),
        ("dynamics", {"name": "unicycles"}, "unicycle"),
        ("conditioners", ["turnings"], "turning"),
        ("memory", {"name": "roled"}, "rolled"),
    ],
)
@pytest.mark.usefixtures("parts")
def test_an_unknown_part_of_a_model_is_refused_with_the_nearest(
    key: str, value: object, nearest: str
) -> None:
    with pytest.raises(UsageError, match=f"(?s)model.{key}.*Did you mean '{nearest}'"):
        build(WorldModelConfig, {key: value}, "model")


@pytest.mark.usefixtures("parts")
def test_an_unknown_camera_is_refused_with_the_nearest() -> None:
    eye = torch.eye(4)[None]
    with pytest.raises(UsageError, match="unknown projection 'cilinder'. Did you mean 'cylinder'"):
        camera_rays(projections_of([CameraSpec("c", 4, 4, "cilinder")]), eye[:, :3, :3], eye, 4, 4)


def test_an_unknown_judge_is_refused_with_the_nearest(run: Run, tmp_path: Path) -> None:
    text = (run.folder / "judge" / "judge.json").read_text()
    (tmp_path / "judge.json").write_text(text.replace('"near"', '"nears"'))
    with pytest.raises(UsageError, match="unknown judge 'nears'. Did you mean 'near'"):
        load_pretrained_judge(tmp_path)


@pytest.mark.usefixtures("parts")
def test_an_unknown_metric_is_refused_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rank", f"out={tmp_path / 'out'}", "metric=turn"]) == 2
    assert "unknown episode metric 'turn'. Did you mean 'turns'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""A planner in a random nano world model: what it follows, imagines, scores, and refuses."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imagination_testing import nano_judge, nano_starts
from lpips_testing import lpips_weights
from worldsim_testing import CAMERAS, SIZE, nano_model, nano_spec

from worldsim.conventions import split_views
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.judge.judge import Judgement, LearnedJudge, ObservedFrame
from worldsim.judge.report import JudgeReport
from worldsim.models.lpips import Lpips
from worldsim.policies.planning.costs import CostParts, JudgeCost, PoseCost
from worldsim.policies.planning.futures import Look, begin, follow, imagine
from worldsim.policies.planning.goal_image import GoalImageCost
from worldsim.policies.planning.planner import PlannerPolicy, shifted
from worldsim.policies.planning.search import Found
from worldsim.policies.pool import build_policy, load_pool
from worldsim.rollout.dependencies import digest_named
from worldsim.rollout.rollouts import rollout_imagination
from worldsim.sampling.observed import observe
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream
from worldsim.spec import WorldSpec

H = 4
QUICK: dict[str, Any] = {
    "candidates": 8,
    "horizon": H,
    "sampling_steps": 1,
    "search": {"name": "icem", "iterations": 2, "elites": 3},
}
TARGET = [0.1, -0.1, 0.1]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the nano model, with its judge."""
    folder = tmp_path_factory.mktemp("world")
    nano_model().save_pretrained(folder)
    nano_judge().save_pretrained(folder / "judge")
    return folder


def planner(world: Path, **options: Any) -> PlannerPolicy:
    built = build_policy(
        nano_spec(), "mine", "planner", **{"model": str(world), **QUICK, **options}
    )
    assert isinstance(built, PlannerPolicy)
    return built


def to_place(**options: Any) -> dict[str, Any]:
    return {"cost": {"name": "pose", "target": TARGET, **options}}


def observation(count: int = 3, step: int = 0) -> dict[str, Any]:
    starts = nano_starts(count + step)[step:]
    return {
        "pixels": split_views(np.stack([start.pixels for start in starts]), CAMERAS),
        "agent_pos": np.stack([start.agent_pos for start in starts]),
        "task": [start.task for start in starts],
        "rig": [start.rig for start in starts],
    }


def look(row: int) -> Look:
    start = nano_starts(row + 1)[row]
    return Look(start.pixels, start.agent_pos, start.task, start.rig)


def stream() -> Stream:
    return Stream.of(nano_model(), Sampler.of(nano_model(), 1))


def plans(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, H, 5)).astype(np.float32)


def test_futures_are_those_of_a_stream_that_saw_the_same() -> None:
    """Begun, followed over three actions of which one was seen, and branched."""
    state, acted, tried = np.array([0.1, -0.2], np.float32), plans(1, 5)[0, :3], plans(3)
    own = begin(stream(), look(0), 7, 3, lambda _: state)
    follow(own, list(acted), look(1), lambda _: state)
    key = own._running.sampling.keys
    futures = imagine(own, tried)
    plain, rig = stream(), look(0).rig
    assert rig is not None
    told = {n: getattr(rig, n)[None].repeat(3, 0) for n in ("intrinsics", "extrinsics", "mounted")}
    first, second = (np.stack([look(row).pixels] * 3) for row in (0, 1))
    hand = np.stack([look(0).agent_pos] * 3)
    ids = [key[0][1]] * 3
    plain.reset(first, hand, told, ids, key[0][0], state=np.stack([state] * 3))
    for action in acted[:2]:
        plain.act(np.stack([action] * 3))
    reached = np.concatenate([look(1).agent_pos, state])
    observe(plain, np.stack([acted[2]] * 3), second, np.stack([reached] * 3))
    for step in range(H):
        chunk = plain.act(tried[:, step])
        torch.testing.assert_close(
            futures.latents[:, step], chunk.latents[:, 0], atol=1e-4, rtol=1e-3
        )
        torch.testing.assert_close(futures.agent_pos[:, step], chunk.agent_pos[:, 0])
    np.testing.assert_allclose(futures.pixels(H - 1), plain.pixels(), atol=2)
    again = imagine(own, tried)  # the stream stayed where it was
    torch.testing.assert_close(again.latents, futures.latents)


def test_a_planner_does_not_know_the_noise_of_the_world_it_acts_in() -> None:
    own = begin(stream(), look(0), 7, 3, lambda _: None)
    assert own._running.sampling.keys[0] != (7, 3)


def test_calibration_is_told_where_it_is_known(world: Path) -> None:
    policy = planner(world, **to_place())
    for rigs, known in ((None, 0.0), (observation(1)["rig"], 1.0)):
        shown = observation(1)
        del shown["rig"]
        policy.reset([0], 0)
        policy.act(shown if rigs is None else {**shown, "rig": rigs}, [0])
        own = policy._notes[0].stream
        assert own is not None and (own._running.rig.known == known).all()


def test_actions_depend_on_seed_and_env_alone(world: Path) -> None:
    policy = planner(world, **to_place())
    ids = [4, 0, 9]

    def run(order: list[int], seed: int = 0) -> list[np.ndarray]:
        policy.reset([ids[i] for i in order], seed)
        made = []
        for step in (0, 1):
            told = observation(3, step)
            rows = {
                "pixels": {name: view[order] for name, view in told["pixels"].items()},
                "agent_pos": told["agent_pos"][order],
                **{key: [told[key][i] for i in order] for key in ("task", "rig")},
            }
            made.append(policy.act(rows, [ids[i] for i in order]))
        return made

    straight = run([0, 1, 2])
    assert straight[0].shape == (3, H, 5) and np.abs(straight[0]).max() <= 1
    for plain, turned, alone in zip(straight, run([2, 0, 1]), run([1]), strict=True):
        np.testing.assert_array_equal(turned, plain[[2, 0, 1]])
        np.testing.assert_array_equal(alone, plain[[1]])
    assert not np.array_equal(run([0, 1, 2], seed=1)[0], straight[0])


def test_what_is_forgotten_wants_a_reset(world: Path) -> None:
    policy = planner(world, **to_place(), proposal={"kind": "random"})
    policy.reset([0, 1], 0)
    policy.forget([1])
    policy.act(observation(1), [0])
    with pytest.raises(UsageError, match="reset"):
        policy.act(observation(1), [1])


def test_a_planner_never_takes_worse_than_its_proposal(world: Path) -> None:
    for proposal in ({"kind": "zero"}, {"kind": "random", "hold": 3}):
        policy = planner(world, **to_place(), proposal=proposal, replan=2)
        policy.reset([0, 1, 2], 0)
        for step in (0, 1):
            policy.act(observation(3, step), [0, 1, 2])
            for decision in policy.decisions:
                assert decision.proposed is not None
                assert decision.found.cost <= decision.proposed
                assert decision.found.scored == 8 + 6
        # After a decision, what is left of it is given to the next one, beside the proposal.
        assert len(policy.decisions[0].found.given) > 1


def test_a_proposal_is_asked_on_in_imagination(world: Path) -> None:
    """Of a policy that tells its plan two steps at a time, the plan is what it would have done."""
    policy = planner(world, **to_place(), proposal={"kind": "random", "hold": 2})
    assert policy._proposal is not None
    policy._proposal.reset([0], 3)
    own = begin(stream(), look(0), 3, 0, lambda _: None)
    plan = policy._proposal.plan(observation(1), 0, own, 5)
    fresh = build_policy(nano_spec(), "random", "random", hold=2)
    fresh.reset([0], 3)
    first = fresh.act(observation(1), [0])[0]
    fresh.reset([0], 3)  # the twin begins with the plan
    told = [fresh.act(observation(1), [0])[0] for _ in range(2)]
    np.testing.assert_allclose(plan, np.concatenate([first, *told])[:5])


def test_a_planner_is_ranked_by_name_and_gets_there(world: Path) -> None:
    """In the imagination of its own model, a hand that plans ends nearer its target."""
    entry = {"kind": "planner", "model": str(world), **QUICK, **to_place(), "candidates": 24}
    pool = {"policies": {"planned": entry, "idle": {"kind": "zero"}, "random": {"kind": "random"}}}
    away = {}
    for policy in load_pool(pool, nano_spec()):
        batch = rollout_imagination(
            policy, nano_model(), nano_judge(), nano_starts(2), sampling_steps=1, max_steps=5
        )
        assert batch.errors == (None, None)
        if isinstance(policy, PlannerPolicy):
            own = policy._notes[0].stream
            assert own is not None and (own._running.rig.known == 1).all(), "rollouts tell the rig"
        ends = np.stack([trajectory.agent_pos[-1, :3] for trajectory in batch.trajectories])
        away[policy.name] = np.linalg.norm(ends - TARGET, axis=1)
    assert (away["planned"] < np.minimum(away["idle"], away["random"]) - 0.004).all()


class Saying(LearnedJudge):
    """A judge whose progress and chance of success are the hand's place."""

    def read(self, observation: ObservedFrame, action: Any) -> Judgement:
        assert observation.asked == ("push",) * len(observation.pixels) and action is not None
        x, y = observation.agent_pos[:, 0], observation.agent_pos[:, 1]
        return Judgement(y, x, np.zeros((len(x), 2), np.float32))


def test_the_cost_of_a_judge_in_closed_form() -> None:
    own = begin(stream(), look(0), 0, 0, lambda _: None)
    futures = imagine(own, plans(5))
    nano = nano_judge()
    judge = Saying(nano.estimator, nano.spec, nano.rule, nano.report)
    cost = JudgeCost(CostParts(nano_model(), judge, "mine"), success=2.0, every=2)
    hand = futures.agent_pos.numpy()[:, [1, 3]]
    expected = -(hand[..., 0].mean(axis=1) + 2.0 * hand[..., 1].max(axis=1))
    np.testing.assert_allclose(cost(futures, "push"), expected, atol=1e-6)


def test_the_cost_of_a_pose_in_closed_form() -> None:
    own = begin(stream(), look(0), 0, 0, lambda _: None)
    futures, parts = imagine(own, plans(5)), CostParts(nano_model(), None, "mine")
    hand, things = futures.agent_pos.numpy(), futures.state.numpy()
    away = np.linalg.norm(hand[..., :3] - np.array(TARGET, np.float32), axis=-1)
    np.testing.assert_allclose(PoseCost(parts, TARGET)(futures, ""), away.mean(1), atol=1e-6)
    last = PoseCost(parts, TARGET, when="last")
    np.testing.assert_allclose(last(futures, ""), away[:, -1], atol=1e-6)
    names = ("ee_x", "ee_y"), ("object_x", "object_y")
    met = PoseCost(parts, names[1], names[0])
    apart = np.linalg.norm(hand[..., :2] - things, axis=-1)
    np.testing.assert_allclose(met(futures, ""), apart.mean(1), atol=1e-6)


def test_the_plan_that_led_to_a_picture_costs_least(tmp_path: Path) -> None:
    from PIL import Image

    own = begin(stream(), look(0), 0, 0, lambda _: None)
    futures, parts = imagine(own, plans(6)), CostParts(nano_model(), None, "mine")
    shown = futures.pixels(H - 1)[4]
    np.save(tmp_path / "goal.npy", shown)
    Image.fromarray(np.concatenate(list(shown), axis=1)).save(tmp_path / "goal.png")
    for name in ("goal.npy", "goal.png"):
        cost = GoalImageCost(parts, tmp_path / name, distance="pixel")(futures, "")
        assert cost[4] == 0 and (np.delete(cost, 4) > 0).all()
    model = nano_model()
    goal = model.encode(torch.from_numpy(shown))
    expected = (futures.latents[:, -1] - goal).square().mean(dim=(1, 2, 3, 4))
    file = lpips_weights(tmp_path / "lpips.safetensors")
    goals = np.stack([shown] * 6)
    felt = GoalImageCost(parts, tmp_path / "goal.npy", "lpips", weights=file)(futures, "")
    maps = Lpips.load(file).maps(futures.pixels(H - 1), goals)
    np.testing.assert_allclose(felt, maps.mean(axis=(1, 2, 3)), rtol=1e-4, atol=1e-7)
    assert felt.argmin() == 4 and felt[4] == pytest.approx(0, abs=1e-6)
    with pytest.raises(UsageError, match="lpips needs the file of its weights"):
        GoalImageCost(parts, tmp_path / "goal.npy", "lpips")
    latent = GoalImageCost(parts, tmp_path / "goal.npy")(futures, "")
    np.testing.assert_allclose(latent, expected, rtol=1e-3)
    wrist = GoalImageCost(parts, tmp_path / "goal.npy", "pixel", ["wrist"], "mean")(futures, "")
    seen = np.stack([futures.pixels(step)[:, 2] for step in range(H)], 1).astype(float)
    by_hand = np.square((seen - shown[2]) / 127.5).mean(axis=(1, 2, 3, 4))
    np.testing.assert_allclose(wrist, by_hand, rtol=1e-5)


def test_elites_move_on_by_what_was_acted_on() -> None:
    made = plans(5)
    found = Found(made[0], 0.0, made[:4], 5, np.zeros(0), ())
    moved = shifted(found, 1)
    assert moved is not None and moved.shape == (2, H, 5), "the plan and an elite, none twice"
    np.testing.assert_array_equal(moved[:, :-1], made[:2, 1:])
    np.testing.assert_array_equal(moved[:, -1], made[:2, -1])
    assert shifted(found, H) is None


def blind(report: JudgeReport) -> JudgeReport:
    """The same judge, right on every other episode alone."""
    return replace(report, true_positives=5, true_negatives=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": 0}, "candidates is 0; expected a whole number from 1"),
        ({"horizon": 0}, "horizon is 0; expected a whole number from 1"),
        ({"search": {"name": "icem", "iterations": 0}}, "iterations is 0"),
        ({"search": {"name": "icm"}}, "Did you mean 'icem'"),
        ({"search": {"name": "cem", "temperature": 1.0}}, "temperature"),
        ({"cost": {"name": "pse"}}, "Did you mean 'pose'"),
        ({"cost": {"name": "pose", "target": [0, 0]}}, "cost.target has 2 values"),
        ({"cost": {"name": "pose", "target": [0], "entries": ["ee_q"]}}, "no entry 'ee_q'"),
        ({"cost": {"name": "judge", "every": 0}}, "every is 0"),
        ({"replan": 5}, "replan is 5, its plans have 4 steps"),
        ({"proposal": {"kind": "behaviour_clonin"}}, "Did you mean 'behaviour_cloning'"),
        ({"model": "shipped/nothing"}, "no shipped model"),
        ({"judge": "nowhere"}, "there is no folder 'nowhere'"),
    ],
)
def test_bad_input_is_told_of(world: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        planner(world, **options)


def test_a_refused_judge_and_a_missing_one_are_told_of(world: Path, tmp_path: Path) -> None:
    replace(nano_judge(), report=blind(nano_judge().report)).save_pretrained(tmp_path / "judge")
    with pytest.raises(UsageError, match=r"judge is refused.*5 of 10 successes and 5 of 10 fail"):
        planner(world, judge=str(tmp_path / "judge"))
    planner(world, judge=str(tmp_path / "judge"), **to_place())  # which does not ask it
    alone = tmp_path / "apart" / "alone"
    nano_model().save_pretrained(alone)
    with pytest.raises(UsageError, match="none lies with the model; give judge=FOLDER"):
        planner(alone)
    planner(alone, **to_place())


def test_a_model_or_a_judge_of_another_world_is_told_of(world: Path, tmp_path: Path) -> None:
    spec: WorldSpec = replace(nano_spec(), fps=5)
    with pytest.raises(SpecMismatchError, match=r"world model .*fps: made for 10, given 5"):
        build_policy(spec, "mine", "planner", model=str(world), **QUICK)
    replace(nano_judge(), spec=spec).save_pretrained(tmp_path / "judge")
    with pytest.raises(SpecMismatchError, match="fps"):
        planner(world, judge=str(tmp_path / "judge"))


def test_a_picture_of_another_size_is_told_of(world: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "goal.npy", np.zeros((2, SIZE, SIZE, 3), np.uint8))
    with pytest.raises(UsageError, match="expected uint8"):
        planner(world, cost={"name": "goal_image", "goal": str(tmp_path / "goal.npy")})


def test_a_kept_result_hangs_on_the_model_that_was_planned_in(world: Path, tmp_path: Path) -> None:
    """A rollout of a planner is made again when its model has changed, as with checkpoints."""
    assert digest_named({"kind": "planner", "model": "shipped/push"})
    copied = shutil.copytree(world, tmp_path / "copy")
    before = digest_named({"model": str(copied)})
    assert before == digest_named({"model": str(world)})
    (copied / "model.safetensors").write_bytes(b"others")
    assert digest_named({"model": str(copied)}) != before

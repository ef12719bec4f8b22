"""Instructed networks and MGDM's memory: closed forms, and a brute force of the pooling."""

import numpy as np
import pytest
import torch

from worldsim.errors import UsageError
from worldsim.models.instructed import (
    GlanceConfig,
    InstructedConfig,
    InstructedNet,
    relative_poses,
    tokenise,
)
from worldsim.models.remembering import (
    MemoryConfig,
    RememberingNet,
    ShortTermMemory,
    entropy_pooled,
)

GLANCE = GlanceConfig(1, (16, 32), width=8, keypoints=4, text=16, buckets=64, words=6)
SHAPE = InstructedConfig(GLANCE, choices=4, history=2, stride=2, trail=3, hidden=16)


def test_words_are_hashed_by_themselves() -> None:
    rows = tokenise(["Go to the RED sofa.", "go to the red sofa", "", "a b c d e f g h"], GLANCE)
    assert torch.equal(rows[0], rows[1]) and not rows[2].any()
    assert (rows[3] > 0).all() and (rows < GLANCE.buckets).all()


def test_a_trail_is_told_in_the_axes_of_the_last_pose() -> None:
    """A metre ahead, a quarter turn to the left, a metre ahead."""
    poses = torch.tensor([(0.0, 0, 1, 0), (1, 0, 1, 0), (1, 0, 0, 1), (1, 1, 0, 1)])
    found = relative_poses(poses, 4)
    expected = torch.tensor([(-1.0, 0, 1, 0), (-1, 0, 0, -1), (-1, 1, 0, -1), (-1, 1, 0, -1)])
    torch.testing.assert_close(found, expected)
    turned = np.deg2rad(37)
    turn = torch.tensor([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    turn = turn.float()
    moved = torch.cat([poses[:, :2] @ turn.T + 3, poses[:, 2:] @ turn.T], dim=1)
    torch.testing.assert_close(relative_poses(moved, 4), found)


def test_a_choice_depends_on_picture_trail_and_words() -> None:
    torch.manual_seed(0)
    net = InstructedNet(SHAPE).eval()
    torch.nn.init.normal_(net.glance.film.weight)
    frames, trail = torch.rand(1, 2, 1, 3, 16, 32), torch.rand(1, 3, 4)
    words = tokenise(["red sofa"], GLANCE)
    first = net(frames, trail, words)
    assert first.shape == (1, 4)
    for other in (
        net(frames.flip(1), trail, words),
        net(frames, trail + 1, words),
        net(frames, trail, tokenise(["green bed"], GLANCE)),
    ):
        assert not torch.allclose(first, other)
    with pytest.raises(UsageError, match="expected"):
        net(frames[..., :16], trail, words)


@pytest.mark.parametrize("seed", range(4))
def test_pooling_leaves_the_least_entropy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    memories, sure = rng.normal(size=(5, 3)), rng.uniform(0.2, 1, 5)
    candidates = []
    for i in range(4):
        pooled = [*sure[:i], sure[i : i + 2].mean(), *sure[i + 2 :]]
        share = np.array(pooled) / sum(pooled)
        kept = np.concatenate([memories[:i], memories[i : i + 2].mean(0)[None], memories[i + 2 :]])
        candidates.append((float(-(share * np.log(share)).sum()), kept, pooled))
    _, kept, pooled = min(candidates, key=lambda each: each[0])
    found = entropy_pooled(torch.from_numpy(memories), torch.from_numpy(sure))
    np.testing.assert_allclose(found[0].numpy(), kept)
    np.testing.assert_allclose(found[1].numpy(), pooled)


def test_a_full_memory_keeps_the_newest_as_it_is() -> None:
    memory = ShortTermMemory(3)
    for step in range(6):
        memory.add(torch.full((2,), float(step)), 0.5 + 0.1 * step)
    held, there = memory.padded(2)
    assert there.all() and held[-1].tolist() == [5.0, 5.0]
    assert ShortTermMemory(3).padded(2)[1].sum() == 0


def test_memory_corrects_and_retrieval_multiplies() -> None:
    """Untrained, memory adds nothing; the bank then alone tells the choice."""
    torch.manual_seed(1)
    plain = InstructedNet(SHAPE).eval()
    net = RememberingNet(plain, MemoryConfig(slots=4, bank=8, neighbours=2, width=8)).eval()
    frames, trail = torch.rand(2, 2, 1, 3, 16, 32), torch.rand(2, 3, 4)
    words = tokenise(["red sofa", "bed"], GLANCE)
    seen = plain.glance(frames[:, 0], plain.glance.read(words))
    net.bank_keys[:] = -seen[:1]
    net.bank_keys[:2] = seen[:1]
    net.bank_choices[:, 0] = 1
    net.bank_choices[:2] = torch.tensor([0.0, 0, 1, 0])
    memories = [net.fresh(), net.fresh()]
    share = net.decide(frames, trail, words, memories)
    torch.testing.assert_close(share.sum(1), torch.ones(2))
    usual = plain(frames, trail, words).softmax(dim=1)[0]
    weight = usual * (torch.tensor([0.0, 0, 1, 0]) + 0.05)
    torch.testing.assert_close(share[0], weight / weight.sum())
    assert [len(memory.confidences) for memory in memories] == [1, 1]

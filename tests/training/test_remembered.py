"""What is taken from the memory of a training clip."""

import torch
from torch import Tensor

from worldsim.data.memory_sampler import MemorySamplerConfig
from worldsim.training.losses.remembered import noised, oldest, thinned


def batch() -> dict[str, Tensor]:
    """Three clips that remember 4, 2 and 0 frames."""
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    number = torch.tensor([[0, 10, 30, 39], [3, 7, 0, 0], [0, 0, 0, 0]])
    return {
        "start": torch.tensor([40, 8, 0]),
        "memory_number": number,
        "memory_rows": number + 100,
        "memory_frame_mask": mask,
        "memory_action_mask": mask,
        "memory_view_mask": mask[..., None],
        "memory_latents": number[..., None, None, None, None].float().expand(3, 4, 1, 2, 2, 2),
    }


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_by_default_everything_is_remembered() -> None:
    config, whole = MemorySamplerConfig("random", 4), batch()
    found = thinned(whole, config, 0.0, draws())
    assert all(torch.equal(found[name], whole[name]) for name in whole)
    assert noised(whole["memory_latents"], config, draws()) is whole["memory_latents"]
    assert thinned({"start": whole["start"]}, config, 0.0, draws()).keys() == {"start"}


def test_older_frames_come_with_time_and_stand_in_order() -> None:
    config = MemorySamplerConfig("random", 4, widen=0.5, near=5)
    early = thinned(batch(), config, 0.0, draws())
    assert early["memory_frame_mask"].sum(1).tolist() == [1, 2, 0]
    assert early["memory_number"][0, 0] == 39 and early["memory_rows"][0, 0] == 139
    assert float(early["memory_latents"][0, 0].max()) == 39.0
    assert torch.equal(early["memory_view_mask"][..., 0], early["memory_frame_mask"])
    middle = thinned(batch(), config, 0.15, draws())
    assert middle["memory_number"][0, :3].tolist() == [10, 30, 39]
    assert middle["memory_frame_mask"][0].tolist() == [True, True, True, False]
    assert oldest(config, 0.5) == float("inf") > oldest(config, 0.4) > oldest(config, 0.1)


def test_some_clips_begin_with_nothing_and_some_frames_are_missing() -> None:
    empty = thinned(batch(), MemorySamplerConfig("random", 4, empty=1.0), 1.0, draws())
    assert not empty["memory_frame_mask"].any() and not empty["memory_view_mask"].any()
    config, kept = MemorySamplerConfig("random", 4, drop=0.5), 0
    for seed in range(50):
        found = thinned(batch(), config, 1.0, draws(seed))
        numbers = found["memory_number"][0][found["memory_frame_mask"][0]]
        assert (numbers.diff() > 0).all()
        kept += len(numbers)
    assert 70 < kept < 130


def test_remembered_frames_are_noisy_by_levels_of_their_own() -> None:
    clean = torch.ones(2, 6, 1, 2, 8, 8)
    found = noised(clean, MemorySamplerConfig("random", 6, noise=0.5), draws())
    spread = found.flatten(2).std(-1)
    assert (spread < 0.6).all() and spread.max() > 2 * spread.min()
    assert abs(float(found.mean()) - float(1 - spread.mean())) < 0.1

"""Accelerated passes are the same passes: over ring wraps, resets and both backbones."""

import copy
import shutil

import numpy as np
import pytest
import torch
from stream_testing import begin, frames_of, random_actions, run
from worldsim_testing import nano_model

from worldsim.diffusion.schedule import Schedule, autoregressive, rolling
from worldsim.errors import UsageError
from worldsim.sampling import sampler
from worldsim.sampling.sampler import Acceleration, Sampler
from worldsim.sampling.stream import Stream

LADDER = (1.0, 0.5, 0.0)
FRAMES = 13
"""More than the context holds, so that the ring wraps."""


def stream(backbone: str, schedule: Schedule, name: Acceleration) -> Stream:
    return Stream(nano_model(backbone), schedule, precision="float32", acceleration=name)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes are traced as for compiling, whole or not at all, and run as traced."""
    monkeypatch.setitem(
        sampler.MODES, "compile", {"backend": "eager", "dynamic": False, "fullgraph": True}
    )
    torch.compiler.reset()


@pytest.mark.parametrize("schedule", [autoregressive(LADDER), rolling(LADDER)], ids=str)
@pytest.mark.parametrize("backbone", ["stnet", "dit"])
def test_a_traced_pass_is_the_pass(traced: None, backbone: str, schedule: Schedule) -> None:
    actions = random_actions(2, FRAMES)
    plain = run(stream(backbone, schedule, "none"), actions)
    fast = run(stream(backbone, schedule, "compile"), actions)
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-5)


def test_one_row_begins_anew_beside_the_others(traced: None) -> None:
    actions = random_actions(2, 10)
    parts = []
    for name in ("none", "compile"):
        running = stream("stnet", autoregressive(LADDER), name)
        begin(running, [0, 1])
        running.push(actions[:, :5])
        first = frames_of(running.drain())
        begin(running, [2], rows=[1])
        running.push(actions[:, 5:])
        parts.append(torch.cat([first, frames_of(running.drain())], 1))
    torch.testing.assert_close(parts[1], parts[0], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_more_shapes_than_torch_allows_by_itself_stay_fast(traced: None) -> None:
    """Every pass of a ramp has a shape of its own; an untraced one would raise."""
    ladder = tuple(np.linspace(1.0, 0.0, 10).tolist())
    actions = random_actions(1, 12)
    plain = run(stream("stnet", rolling(ladder), "none"), actions)
    fast = run(stream("stnet", rolling(ladder), "compile"), actions)
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["compile", "cuda_graphs"])
@pytest.mark.parametrize("backbone", ["stnet", "dit"])
def test_on_a_gpu(backbone: str, name: Acceleration) -> None:
    torch.compiler.reset()
    model, actions = copy.deepcopy(nano_model(backbone)).cuda(), random_actions(2, FRAMES)
    plain, fast = (
        run(Stream(model, rolling(LADDER), precision="float32", acceleration=each), actions)
        for each in ("none", name)
    )
    torch.testing.assert_close(fast, plain, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler on this machine")
def test_compiled_for_real() -> None:
    torch.compiler.reset()
    actions = random_actions(1, 3)
    plain = run(stream("stnet", autoregressive(LADDER), "none"), actions)
    fast = run(stream("stnet", autoregressive(LADDER), "compile"), actions)
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)
    assert np.isfinite(fast.numpy()).all()


def test_what_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="needs a GPU"):
        Stream.of(nano_model(), Sampler(acceleration="cuda_graphs"))
    with pytest.raises(UsageError, match="Known: compile, cuda_graphs, none"):
        Stream.of(nano_model(), Sampler(acceleration="warp"))  # type: ignore[arg-type]
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match="no no-such-compiler"):
        Stream.of(nano_model(), Sampler(acceleration="compile"))

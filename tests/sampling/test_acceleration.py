"""Accelerated passes are the same passes: over ring wraps, resets and both backbones."""

import copy
import shutil
from collections.abc import Callable, Iterator
from functools import cache

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
FEW = 2
"""Shapes that torch is told to compile by itself; its own number takes long to pass."""
SCHEDULES = {"autoregressive": autoregressive(LADDER), "rolling": rolling(LADDER)}
Make = Callable[[str, str, Acceleration], Stream]


def stream(backbone: str, schedule: Schedule, name: Acceleration) -> Stream:
    return Stream(nano_model(backbone), schedule, precision="float32", acceleration=name)


@pytest.fixture(scope="module")
def traced() -> Iterator[Make]:
    """Streams of a backbone and a schedule, each made once and begun anew by every test.

    Their passes are traced as for compiling, whole or not at all, and run as traced.
    """
    mode = {"backend": "eager", "dynamic": False, "fullgraph": True}
    with pytest.MonkeyPatch.context() as patch, torch._dynamo.config.patch(recompile_limit=FEW):
        patch.setitem(sampler.MODES, "compile", mode)
        torch.compiler.reset()
        yield cache(lambda backbone, kind, name: stream(backbone, SCHEDULES[kind], name))
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(SCHEDULES))
@pytest.mark.parametrize("backbone", ["stnet", "dit"])
def test_traced_passes_are_the_passes_however_many_shapes_they_have(
    traced: Make, backbone: str, kind: str
) -> None:
    """An untraced pass would raise, as would a shape beyond what torch allows by itself."""
    actions, counted = random_actions(2, FRAMES), torch._dynamo.utils.counters["stats"]
    before = counted["unique_graphs"]
    plain = run(traced(backbone, kind, "none"), actions)
    fast = run(traced(backbone, kind, "compile"), actions)
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-5)
    assert counted["unique_graphs"] - before > FEW


def test_one_row_begins_anew_beside_the_others(traced: Make) -> None:
    actions = random_actions(2, 10)
    parts = []
    for name in ("none", "compile"):
        running = traced("stnet", "autoregressive", name)
        begin(running, [0, 1])
        running.push(actions[:, :5])
        first = frames_of(running.drain())
        begin(running, [2], rows=[1])
        running.push(actions[:, 5:])
        parts.append(torch.cat([first, frames_of(running.drain())], 1))
    torch.testing.assert_close(parts[1], parts[0], atol=1e-5, rtol=1e-5)


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
    actions, schedule = random_actions(1, 3), autoregressive((1.0, 0.0))
    plain = run(stream("stnet", schedule, "none"), actions)
    fast = run(stream("stnet", schedule, "compile"), actions)
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

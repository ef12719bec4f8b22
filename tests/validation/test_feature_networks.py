"""Feature networks: names, shapes and arithmetic of the published ones; files that are refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from worldsim.errors import DataError, UsageError
from worldsim.validation.features.extractors import EXTRACTORS, Inception, Kinetics
from worldsim.validation.features.i3d import I3d, padded
from worldsim.validation.features.inception import FidInception
from worldsim.validation.features.weights_file import WeightsFile, fill

NORM = ("weight", "bias", "running_mean", "running_var")

INCEPTION = """
Conv2d_1a_3x3 32 3 3 3 | Conv2d_2a_3x3 32 32 3 3 | Conv2d_2b_3x3 64 32 3 3
Conv2d_3b_1x1 80 64 1 1 | Conv2d_4a_3x3 192 80 3 3
Mixed_6a.branch3x3 384 288 3 3 | Mixed_6a.branch3x3dbl_1 64 288 1 1
Mixed_6a.branch3x3dbl_2 96 64 3 3 | Mixed_6a.branch3x3dbl_3 96 96 3 3
Mixed_7a.branch3x3_1 192 768 1 1 | Mixed_7a.branch3x3_2 320 192 3 3
Mixed_7a.branch7x7x3_1 192 768 1 1 | Mixed_7a.branch7x7x3_2 192 192 1 7
Mixed_7a.branch7x7x3_3 192 192 7 1 | Mixed_7a.branch7x7x3_4 192 192 3 3
"""
NARROW = """
branch1x1 64 {0} 1 1 | branch5x5_1 48 {0} 1 1 | branch5x5_2 64 48 5 5 | branch3x3dbl_1 64 {0} 1 1
branch3x3dbl_2 96 64 3 3 | branch3x3dbl_3 96 96 3 3 | branch_pool {1} {0} 1 1
"""
CROSSED = """
branch1x1 192 768 1 1 | branch7x7_1 {0} 768 1 1 | branch7x7_2 {0} {0} 1 7 | branch7x7_3 192 {0} 7 1
branch7x7dbl_1 {0} 768 1 1 | branch7x7dbl_2 {0} {0} 7 1 | branch7x7dbl_3 {0} {0} 1 7
branch7x7dbl_4 {0} {0} 7 1 | branch7x7dbl_5 192 {0} 1 7 | branch_pool 192 768 1 1
"""
FORKED = """
branch1x1 320 {0} 1 1 | branch3x3_1 384 {0} 1 1 | branch3x3_2a 384 384 1 3
branch3x3_2b 384 384 3 1 | branch3x3dbl_1 448 {0} 1 1 | branch3x3dbl_2 384 448 3 3
branch3x3dbl_3a 384 384 1 3 | branch3x3dbl_3b 384 384 3 1 | branch_pool 192 {0} 1 1
"""
BLOCKS: dict[str, tuple[str, tuple[int, ...]]] = {
    "Mixed_5b": (NARROW, (192, 32)),
    "Mixed_5c": (NARROW, (256, 64)),
    "Mixed_5d": (NARROW, (288, 64)),
    "Mixed_6b": (CROSSED, (128,)),
    "Mixed_6c": (CROSSED, (160,)),
    "Mixed_6d": (CROSSED, (160,)),
    "Mixed_6e": (CROSSED, (192,)),
    "Mixed_7b": (FORKED, (1280,)),
    "Mixed_7c": (FORKED, (2048,)),
}


def rows(table: str, prefix: str = "") -> Iterator[tuple[str, tuple[int, ...]]]:
    for entry in table.replace("\n", "|").split("|"):
        if parts := entry.split():
            yield prefix + parts[0], tuple(map(int, parts[1:]))


def published_inception() -> dict[str, tuple[int, ...]]:
    """Names and shapes of pt_inception-2015-12-05-6726825d.pth without its classifier."""
    convolutions = dict(rows(INCEPTION))
    for block, (table, numbers) in BLOCKS.items():
        convolutions |= dict(rows(table.format(*numbers), f"{block}."))
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in convolutions.items():
        found[f"{name}.conv.weight"] = shape
        found |= {f"{name}.bn.{part}": shape[:1] for part in NORM}
    return found


def published_i3d() -> dict[str, tuple[int, ...]]:
    """Names and shapes of rgb_imagenet.pt."""
    units: dict[str, tuple[int, ...]] = {
        "Conv3d_1a_7x7": (64, 3, 7),
        "Conv3d_2b_1x1": (64, 64, 1),
        "Conv3d_2c_3x3": (192, 64, 3),
    }
    inside = 192
    for name, widths in {
        "3b": (64, 96, 128, 16, 32, 32),
        "3c": (128, 128, 192, 32, 96, 64),
        "4b": (192, 96, 208, 16, 48, 64),
        "4c": (160, 112, 224, 24, 64, 64),
        "4d": (128, 128, 256, 24, 64, 64),
        "4e": (112, 144, 288, 32, 64, 64),
        "4f": (256, 160, 320, 32, 128, 128),
        "5b": (256, 160, 320, 32, 128, 128),
        "5c": (384, 192, 384, 48, 128, 128),
    }.items():
        first, a, second, b, third, last = widths
        for branch, shape in {
            "b0": (first, inside, 1),
            "b1a": (a, inside, 1),
            "b1b": (second, a, 3),
            "b2a": (b, inside, 1),
            "b2b": (third, b, 3),
            "b3b": (last, inside, 1),
        }.items():
            units[f"Mixed_{name}.{branch}"] = shape
        inside = first + second + third + last
    found = {"logits.conv3d.weight": (400, inside, 1, 1, 1), "logits.conv3d.bias": (400,)}
    for name, (out, into, size) in units.items():
        found[f"{name}.conv3d.weight"] = (out, into, size, size, size)
        found |= {f"{name}.bn.{part}": (out,) for part in NORM}
    return found


def randomised(network: nn.Module) -> nn.Module:
    """Weights that keep signals of order one, and statistics that are no identity."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        drawn = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim > 1:
            tensor.copy_(drawn * (2.0 / tensor[0].numel()) ** 0.5)
        elif name.endswith(("running_var", "bn.weight")):
            tensor.copy_(1.0 + 0.2 * drawn.tanh())
        else:
            tensor.copy_(0.1 * drawn)
    return network.eval()


@pytest.fixture(scope="module")
def inception() -> FidInception:
    network = randomised(FidInception())
    assert isinstance(network, FidInception)
    return network


@pytest.fixture(scope="module")
def kinetics() -> I3d:
    network = randomised(I3d())
    assert isinstance(network, I3d)
    return network


@pytest.mark.parametrize(
    ("network", "published", "count"),
    [(FidInception, published_inception, 21_785_568), (I3d, published_i3d, 12_697_264)],
)
def test_names_and_shapes_are_the_published_ones(
    network: type[nn.Module], published: object, count: int
) -> None:
    assert callable(published)
    made = network()
    held = {n: tuple(t.shape) for n, t in made.state_dict().items() if "num_batches" not in n}
    assert held == published()
    assert sum(parameter.numel() for parameter in made.parameters()) == count


def test_inception_is_the_network_that_fid_describes(inception: FidInception) -> None:
    """Against its layers written down one after the other."""
    held = inception.state_dict()

    def unit(x: Tensor, name: str, stride: int = 1, padding: tuple[int, int] = (0, 0)) -> Tensor:
        x = F.conv2d(x, held[f"{name}.conv.weight"], None, stride, padding)
        weight, bias, mean, variance = (held[f"{name}.bn.{part}"] for part in NORM)
        return F.relu(F.batch_norm(x, mean, variance, weight, bias, eps=1e-3))

    def chain(x: Tensor, block: str, *names: str) -> Tensor:
        for name in names:
            shape = held[f"{block}.{name}.conv.weight"].shape
            x = unit(x, f"{block}.{name}", 1, (shape[2] // 2, shape[3] // 2))
        return x

    def mean(x: Tensor) -> Tensor:
        inside = F.avg_pool2d(torch.ones_like(x[:1, :1]), 3, 1, 1)
        return F.avg_pool2d(x, 3, 1, 1) / inside  # padding is not counted

    x = 2 * torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(1)) - 1
    with torch.inference_mode():
        found = inception(x)
        x = unit(unit(x, "Conv2d_1a_3x3", 2), "Conv2d_2a_3x3")
        x = F.max_pool2d(unit(x, "Conv2d_2b_3x3", 1, (1, 1)), 3, 2)
        x = F.max_pool2d(unit(unit(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3"), 3, 2)
        assert x.shape == (1, 192, 35, 35)
        for b in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
            names = [f"branch3x3dbl_{i}" for i in (1, 2, 3)]
            parts = [chain(x, b, "branch1x1"), chain(x, b, "branch5x5_1", "branch5x5_2")]
            x = torch.cat([*parts, chain(x, b, *names), chain(mean(x), b, "branch_pool")], 1)
        b = "Mixed_6a"
        double = chain(x, b, "branch3x3dbl_1", "branch3x3dbl_2")
        parts = [unit(x, f"{b}.branch3x3", 2), unit(double, f"{b}.branch3x3dbl_3", 2)]
        x = torch.cat([*parts, F.max_pool2d(x, 3, 2)], 1)
        assert x.shape == (1, 768, 17, 17)
        for b in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
            parts = [
                chain(x, b, "branch1x1"),
                chain(x, b, *(f"branch7x7_{i}" for i in (1, 2, 3))),
                chain(x, b, *(f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5))),
            ]
            x = torch.cat([*parts, chain(mean(x), b, "branch_pool")], 1)
        b = "Mixed_7a"
        crossed = chain(x, b, *(f"branch7x7x3_{i}" for i in (1, 2, 3)))
        parts = [unit(chain(x, b, "branch3x3_1"), f"{b}.branch3x3_2", 2)]
        parts += [unit(crossed, f"{b}.branch7x7x3_4", 2), F.max_pool2d(x, 3, 2)]
        x = torch.cat(parts, 1)
        assert x.shape == (1, 1280, 8, 8)
        for b, pool in (("Mixed_7b", mean), ("Mixed_7c", lambda y: F.max_pool2d(y, 3, 1, 1))):
            single = chain(x, b, "branch3x3_1")
            double = chain(x, b, "branch3x3dbl_1", "branch3x3dbl_2")
            parts = [chain(x, b, "branch1x1")]
            parts += [chain(single, b, f"branch3x3_2{end}") for end in "ab"]
            parts += [chain(double, b, f"branch3x3dbl_3{end}") for end in "ab"]
            x = torch.cat([*parts, chain(pool(x), b, "branch_pool")], 1)
        torch.testing.assert_close(found, x.mean((2, 3)), rtol=1e-3, atol=1e-4)
    assert found.shape == (1, 2048) and found.std() > 1e-3


@pytest.mark.parametrize(
    ("length", "size", "stride"), [(9, 7, 2), (10, 7, 2), (5, 3, 2), (6, 2, 2)]
)
def test_borders_are_tensorflows(length: int, size: int, stride: int) -> None:
    x = torch.ones(1, 1, length, 1, 1)
    wide = padded(x, (size, 1, 1), (stride, 1, 1))[0, 0, :, 0, 0]
    out = (len(wide) - size) // stride + 1
    assert out == -(-length // stride)
    before, after = int(wide.argmax()), len(wide) - length - int(wide.argmax())
    assert after - before in (0, 1)


def test_i3d_is_the_network_that_fvd_describes(kinetics: I3d) -> None:
    """Against its layers written down one after the other."""
    held = kinetics.state_dict()

    def same(x: Tensor, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        around: list[int] = []
        for axis in (2, 1, 0):
            n, k, s = x.shape[2 + axis], size[axis], stride[axis]
            lacking = max(k - s if n % s == 0 else k - n % s, 0)
            around += [lacking // 2, lacking - lacking // 2]
        return F.pad(x, around)

    def unit(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = held[f"{name}.conv3d.weight"]
        x = F.conv3d(same(x, weight.shape[2:], (stride,) * 3), weight, None, stride)
        scale, bias, mean, variance = (held[f"{name}.bn.{part}"] for part in NORM)
        return F.relu(F.batch_norm(x, mean, variance, scale, bias, eps=1e-3))

    def pool(x: Tensor, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        return F.max_pool3d(same(x, size, stride), size, stride)

    x = 2 * torch.rand(1, 3, 9, 224, 224, generator=torch.Generator().manual_seed(1)) - 1
    with torch.inference_mode():
        found = kinetics(x)
        x = pool(unit(x, "Conv3d_1a_7x7", 2), (1, 3, 3), (1, 2, 2))
        x = pool(unit(unit(x, "Conv3d_2b_1x1"), "Conv3d_2c_3x3"), (1, 3, 3), (1, 2, 2))
        for name in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"):
            if name == "4b":
                x = pool(x, (3, 3, 3), (2, 2, 2))
            if name == "5b":
                x = pool(x, (2, 2, 2), (2, 2, 2))
            b = f"Mixed_{name}"
            branches = [unit(x, f"{b}.b0"), unit(unit(x, f"{b}.b1a"), f"{b}.b1b")]
            branches += [unit(unit(x, f"{b}.b2a"), f"{b}.b2b")]
            x = torch.cat([*branches, unit(pool(x, (3, 3, 3), (1, 1, 1)), f"{b}.b3b")], 1)
        assert x.shape == (1, 1024, 2, 7, 7)
        weight, bias = held["logits.conv3d.weight"], held["logits.conv3d.bias"]
        expected = F.linear(x.mean((2, 3, 4)), weight.flatten(1), bias)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert found.shape == (1, 400) and found.std() > 1e-3


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.bn = nn.Linear(2, 3), nn.BatchNorm1d(3)


def test_files_of_both_kinds_are_read_and_known_by_their_hash(tmp_path: Path) -> None:
    network = randomised(Small())
    held = {n: t for n, t in network.state_dict().items() if "num_batches" not in n}
    held["fc.weight"] = torch.zeros(2)
    torch.save(held, tmp_path / "old.pt")
    half = {name: tensor.half() for name, tensor in held.items()}
    save_file(half, tmp_path / "new.safetensors")
    for name in ("old.pt", "new.safetensors"):
        file = WeightsFile(tmp_path / name)
        made = fill(Small(), file, ("fc.",), "get it")
        assert not made.training
        for key, value in made.state_dict().items():
            assert value.dtype in (torch.float32, torch.int64)
            if key in held:
                torch.testing.assert_close(value, held[key], atol=1e-3, rtol=1e-3)
        digest = file.digest()
        assert len(digest) == 64
        for pin in (digest, digest[:8].upper()):
            assert WeightsFile(file.path, pin).digest() == digest
        wrong = ("0" if digest[0] != "0" else "1") + digest[1:]
        with pytest.raises(DataError, match=f"has SHA-256 {digest}, expected {wrong}"):
            WeightsFile(file.path, wrong).digest()
    with pytest.raises(DataError, match="1 names are missing.* fc.weight; get it"):
        fill(Small(), WeightsFile(tmp_path / "old.pt"), (), "get it")


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (Path(tmp_path / "ran"),))  # type: ignore[return-value]

    torch.save({"layer": Harm()}, tmp_path / "harm.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "torn.safetensors").write_bytes(b"abc")
    (tmp_path / "torn.pt").write_bytes(b"abc")
    for name in ("harm.pt", "list.pt", "torn.safetensors", "torn.pt"):
        with pytest.raises(DataError, match=f"{name} holds"):
            fill(Small(), WeightsFile(tmp_path / name), (), "get it")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(DataError, match="no weights can be read"):
        WeightsFile(tmp_path / "none.pt").digest()
    save_file({"layer.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    for kind, words in ((Inception, "pytorch-fid"), (Kinetics, "VideoGPT")):
        with pytest.raises(DataError, match=f"does not fit.*{words}"):
            kind(WeightsFile(tmp_path / "other.safetensors"))
        with pytest.raises(UsageError, match=f"needs weights: download .*{words}"):
            kind(None)


def test_what_an_extractor_says_of_itself() -> None:
    for name in EXTRACTORS:
        kind = EXTRACTORS.get(name)
        assert kind.measure and kind.kernel_measure and kind.resize
        assert bool(kind.how) == kind.needs_weights
    ours = EXTRACTORS.get("tokenizer")
    assert "FVD" not in ours.measure and "FID" not in ours.measure

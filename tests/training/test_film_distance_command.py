"""Film distances by the user's command: weights by path, an extractor of the user's own."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from train_testing import train

from worldsim.validation.features.inception import FidInception

MINE = """
from worldsim.validation.features.extractors import EXTRACTORS, Extractor


@EXTRACTORS.register("mean_colour")
class MeanColour(Extractor):
    measure, kernel_measure, per_frame, resize = "colour distance", "colour kernel", False, "none"

    def features(self, clips):
        return clips.float().mean((1, 2, 3))
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random ones of the Inception network, with a classifier as the published file has it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "inception.safetensors"
    held = {name: tensor.half() for name, tensor in FidInception().state_dict().items()}
    save_file({**held, "fc.weight": torch.zeros(1008, 2048)}, path)
    return path


@pytest.mark.slow
def test_the_command_prints_and_stores_them_with_their_protocol(
    data: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    named = f"{{name: inception, weights: {weights}, sha256: '{digest[:12]}'}}"
    code = train(
        data,
        tmp_path / "run",
        f"parts=[{tmp_path / 'mine.py'}]",
        f"validation.film_distance.extractors=[{named},{{name: tokenizer}},{{name: mean_colour}}]",
        "validation.film_distance.length=3",
        "decoder.streams=0",
    )
    said = capsys.readouterr().err
    assert code == 0, said
    stored = json.loads((tmp_path / "run" / "validation.json").read_text())["film_distance"]
    protocols = [measured["protocol"] for measured in stored["measured"]]
    assert [p["measure"] for p in protocols] == ["FID", "tokenizer distance", "colour distance"]
    assert protocols[0]["sha256"] == digest and protocols[0]["file"] == weights.name
    assert stored["notes"] == []
    for measured in stored["measured"]:
        assert [f["camera"] for f in measured["figures"]] == measured["protocol"]["cameras"]
        for figure in measured["figures"]:
            assert figure["steps"] == [1, 3] and figure["episodes"] == 2
            assert figure["samples"] == (6 if measured["protocol"]["sample"] == "frame" else 2)
            for kind in ("frechet", "kernel"):
                assert set(figure[kind]) == {"model", "first_frame"}
                assert all(isinstance(each["value"], float) for each in figure[kind].values())
    assert f"FID: extractor inception ({weights.name} sha256 {digest})" in said
    assert "the first frame held" in said and "KID" in said


def test_wrong_weights_are_refused_before_anything_is_trained(
    data: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusals = {
        f"{{name: inception, weights: {weights}, sha256: '{'0' * 64}'}}": "than was pinned",
        "{name: inception}": "needs weights: download",
        "{name: inception, weights: nowhere.pt}": "a file that exists",
        "{name: incepton}": "Did you mean 'inception'",
    }
    for entry, words in refusals.items():
        assert train(data, tmp_path / "run", f"validation.film_distance.extractors=[{entry}]"), (
            entry
        )
        assert words in " ".join(capsys.readouterr().err.split()), entry
    assert not (tmp_path / "run").exists()


def test_without_weights_one_line_says_so(finished: Path) -> None:
    stored = json.loads((finished / "validation.json").read_text())["film_distance"]
    assert stored["measured"] == []
    (note,) = stored["notes"]
    assert "FVD and FID are left out" in note and "docs/video_metrics.md" in note

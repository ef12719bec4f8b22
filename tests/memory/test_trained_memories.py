"""Models are trained with memories by their names alone, and say what they learnt from."""

from pathlib import Path

import pytest
import torch
from toy_room_data import write_room_data
from train_testing import train

from worldsim.files import read_json
from worldsim.models.world_model import WorldModel

QUICK = (
    "stage=all",
    "model.dynamics.name=pose",
    "plan.memory.name=random",
    "plan.memory.frames=3",
    "tokenizer.max_steps=4",
    "trainer.max_steps=4",
    "trainer.accumulate=1",
    "decoder.max_steps=2",
    "validation.films=0",
    "validation.swap=false",
    "validation.step_counts=[]",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Walks through the room, with depth."""
    return write_room_data(Path(tmp_path_factory.mktemp("room")) / "data", 12, 6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "assisted"),
    [
        (("model.memory.name=frames_points", "model.head.depth=true"), True),
        (("model.memory.name=points", "model.memory.depth=simulator"), True),
        (
            (
                "model.memory.name=points",
                "model.head.depth=true",
                "plan.objective.depth=0",
                "plan.rollout.start=0",
                "plan.rollout.share=1.0",
            ),
            False,
        ),
        (("model.memory.name=frames",), False),
        (("model.memory.name=recurrent",), False),
        (("model.memory.name=raw",), False),
    ],
    ids=lambda keys: "" if isinstance(keys, bool) else "_".join(k.split("=")[1] for k in keys),
)
def test_a_model_is_trained_with_a_memory(
    data: Path, tmp_path: Path, keys: tuple[str, ...], assisted: bool
) -> None:
    assert train(data, tmp_path / "run", *QUICK, *keys) == 0
    folder = tmp_path / "run" / "model"
    assert read_json(folder / "config.json")["depth_assisted"] is assisted
    assert ("Depth-assisted" in (folder / "README.md").read_text()) is assisted
    model = WorldModel.from_pretrained(folder)
    assert model.depth_assisted is assisted and model.remembers
    if model.depth_head is not None:
        last = model.depth_head.body[-2].weight
        assert isinstance(last, torch.Tensor) and bool(last.isfinite().all())

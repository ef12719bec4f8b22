"""README.md of a trained model."""

from worldsim.data.cache import CachedDataset
from worldsim.models.world_model import WorldModel
from worldsim.training.fit import Fitted

STATE_ASSISTED = """
State-assisted: it is given the simulator's state at the start, such as object poses, and carries it
along. No robot knows that state, so its figures say nothing of a model that has to do without.
"""


def model_card(model: WorldModel, fitted: Fitted, cache: CachedDataset) -> str:
    """What the model is, what it was trained on, and its last losses."""
    spec = model.spec
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    losses = "\n".join(f"| {name} | {value:.4f} |" for name, value in fitted.logs.items())
    return f"""# worldsim world model

{millions:.1f} M parameters, backbone `{model.config.denoiser.name}`, {spec.fps:g} Hz, cameras
{", ".join(f"`{c.name}` {c.height}x{c.width}" for c in spec.cameras)};
actions {", ".join(f"`{name}`" for name in spec.action.names)}.
{STATE_ASSISTED if model.state_assisted else ""}
Trained with `worldsim train` on {cache.num_episodes} episodes ({len(cache.pixels)} frames):
{fitted.steps} steps in {fitted.seconds:.0f} s. Load it with `WorldModel.from_pretrained(folder)`.

| last training loss | value |
| --- | --- |
{losses}
"""

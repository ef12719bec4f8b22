"""The cost of a goal that is a picture: how far an imagined frame is from it.

Legend: N plans, H steps, V view, H W pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.config.limits import InputFile
from worldsim.errors import DataError, UsageError
from worldsim.models.lpips import Lpips
from worldsim.models.world_model import WorldModel
from worldsim.policies.planning.costs import PLAN_COSTS, CostParts, Float, PlanCost, When, along
from worldsim.policies.planning.futures import Futures


@PLAN_COSTS.register("goal_image")
class GoalImageCost(PlanCost):
    """Distance from a picture of the goal.

    Args:
        parts: with a model.
        goal: file of the picture: `.npy`, uint8 `[V, H, W, 3]`, or `.png`, cameras side by side.
        distance: `latent`, mean square of normalised latents; `pixel`, mean square of colours in
            [-1, 1]; or `lpips` (as NWM and World-In-World plan), which needs `weights`.
        cameras: which are compared; all by default.
        when: of the `last` frame, or the `mean` of all.
        weights: file of LPIPS' weights; `worldsim/models/lpips.py` says how it is made.

    Raises:
        UsageError: there is no such camera, the picture has another size, or weights are missing.
        DataError: the file is no picture.
    """

    def __init__(
        self,
        parts: CostParts,
        goal: InputFile,
        distance: Literal["latent", "pixel", "lpips"] = "latent",
        cameras: Sequence[str] = (),
        when: When = "last",
        weights: InputFile | None = None,
    ) -> None:
        super().__init__(parts)
        spec = parts.model.spec
        if (distance == "lpips") != (weights is not None):
            raise UsageError(
                f"policy {parts.name!r}: cost.distance is {distance}, cost.weights is {weights}; "
                "lpips needs the file of its weights, and the others take none"
            )
        unknown = [name for name in cameras if name not in spec.camera_names]
        if unknown:
            raise UsageError(
                f"policy {parts.name!r}: cost.cameras has {unknown}, and the model sees "
                f"{', '.join(spec.camera_names)}"
            )
        self._views = [spec.camera_names.index(name) for name in cameras or spec.camera_names]
        self._distance, self._when = distance, when
        self._picture = read_goal(Path(goal), parts.model)
        self._network = None if weights is None else Lpips.load(Path(weights))

    def __call__(self, futures: Futures, task: str) -> Float:
        """See `PlanCost`."""
        steps = [futures.horizon - 1] if self._when == "last" else range(futures.horizon)
        apart = [self._apart(futures, step) for step in steps]
        return along(torch.stack(apart, dim=1), self._when)

    @torch.inference_mode()
    def _apart(self, futures: Futures, step: int) -> Tensor:
        """Distances `[N]` of one frame of every plan."""
        if self._network is not None:
            views = futures.pixels(step)[:, self._views]
            maps = self._network.maps(
                views, np.broadcast_to(self._picture[self._views], views.shape)
            )
            return torch.from_numpy(maps).mean(dim=(1, 2, 3))
        if self._distance == "pixel":
            seen = torch.from_numpy(futures.pixels(step)[:, self._views].astype(np.float32))
            wanted = torch.from_numpy(self._picture[self._views].astype(np.float32))
            return ((seen - wanted) / 127.5).square().mean(dim=(1, 2, 3, 4))
        model, count = futures.stream.model, len(futures.latents)
        # Panoramas are turned as the frame's are that they are compared with.
        pixels = torch.from_numpy(self._picture)[None].expand(count, -1, -1, -1, -1)
        turned = model.facing is not None
        agent_pos = futures.agent_pos[:, step]
        goal = model.encode(pixels if turned else pixels[:1], agent_pos if turned else None)
        gap = futures.latents[:, step, self._views].float() - goal[:, self._views].float()
        return gap.square().mean(dim=(1, 2, 3, 4))


def read_goal(file: Path, model: WorldModel) -> NDArray[np.uint8]:
    """A picture uint8 `[V, H, W, 3]` of all cameras of a model.

    Raises:
        UsageError: it has another size.
        DataError: it is none.
    """
    from PIL import Image, UnidentifiedImageError

    camera, views = model.spec.cameras[0], model.views
    try:
        if file.suffix == ".npy":
            picture: NDArray[Any] = np.load(file, allow_pickle=False)
        else:
            with Image.open(file) as image:
                wide = np.asarray(image.convert("RGB"))
            picture = wide
            if wide.shape[1] % views == 0:
                picture = np.stack(np.split(wide, views, axis=1))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise DataError(f"{file} is no picture of a goal: {error}") from error
    expected = (views, camera.height, camera.width, 3)
    if picture.shape != expected or picture.dtype != np.uint8:
        raise UsageError(
            f"{file} holds {picture.dtype} {picture.shape}, expected uint8 {expected} for cameras "
            f"{', '.join(model.spec.camera_names)} (in a .png side by side)"
        )
    return picture

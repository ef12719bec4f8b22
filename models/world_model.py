"""`WorldModel`: tokenizer, dynamics, denoiser, heads, normaliser and the spec of its world.

Legend: B batch, T frames, V views, H W pixels, c latent channels, h w latent size, A action,
P proprioception, S state, D carried state (see `worldsim.models.dynamics.base`).
"Latents" are normalised to unit variance everywhere outside.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from worldsim.cameras.facing import Facing
from worldsim.cameras.projection import projections_of
from worldsim.conventions import to_model_video, to_pixels
from worldsim.errors import UsageError
from worldsim.files import read_json, write_json, write_text
from worldsim.memory.base import FrameReader, MemoryConfig, registered_memories
from worldsim.memory.view import MemoryView
from worldsim.models.blocks import Normalizer, channels_last
from worldsim.models.conditioners.base import ConditionerList, RecalledShape
from worldsim.models.conditioners.steps import FrameSteps, RigTensors
from worldsim.models.denoisers.base import DenoiserShape, build_denoiser
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.dynamics.base import build_dynamics
from worldsim.models.heads.build import build_heads
from worldsim.models.heads.state import StateReading
from worldsim.models.migrate import CONFIG_VERSION
from worldsim.models.padding import surround_convolutions
from worldsim.models.pretrained import own_parts_told, resolve_folder
from worldsim.models.quality import QUALITY, StepQuality
from worldsim.models.tokenizers.base import build_tokenizer, require_image_size
from worldsim.models.trained_ladder import TrainedLadder
from worldsim.models.weights import WEIGHTS, load_config, load_weights, save_config, save_weights
from worldsim.models.world_config import (
    KIND,
    TABLETOP,
    WorldModelConfig,
    config_of,
    trained_config,
)
from worldsim.spec import WorldSpec

# Sizes and parts are named where the model is.
__all__ = ["TABLETOP", "WorldModel", "WorldModelConfig", "trained_config"]


class WorldModel(nn.Module):
    """A controllable video world model of one world.

    Attributes:
        remembers: whether it has a memory that tells anything.
        facing: which views its latents show turned to heading zero; None if none.

    Raises:
        UsageError: cameras differ in size, the size does not divide into latents, the tokenizer
            packs frames, panoramas that cannot be turned are to be, or events are to be read and
            the world tells none.
    """

    def __init__(self, config: WorldModelConfig, spec: WorldSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        self.quality: StepQuality | None = None
        sizes = {(camera.height, camera.width) for camera in spec.cameras}
        if len(sizes) != 1:
            raise UsageError(f"all cameras of a model must share one size, got {sorted(sizes)}")
        height, width = sizes.pop()
        self.tokenizer = build_tokenizer(config.tokenizer)
        if self.tokenizer.frames_per_latent != 1:
            raise UsageError(
                f"tokenizer {config.tokenizer.name!r} packs {self.tokenizer.frames_per_latent} "
                "frames into a latent, and world models make one frame at a time; use one that "
                "packs none"
            )
        require_image_size(height, width, self.tokenizer.spatial_factor)
        self.latent_shape = self.tokenizer.latent_shape(height, width)
        self.views = len(spec.cameras)
        p, s = spec.agent_pos.dim, spec.state.dim
        self.dynamics = build_dynamics(config.dynamics, spec)
        self.remembers = registered_memories().get(config.memory.name).tells
        self.facing = Facing.of(spec) if config.derotate else None
        told = RecalledShape(self.latent_shape[0], config.memory.retrieved)
        names, world = config.conditioners, (spec, self.dynamics)
        self.conditioners = ConditionerList(names, *world, told, self.facing)
        maps = len(self.conditioners.channels)
        shape = DenoiserShape(
            self.views, *self.latent_shape, spec.action.dim, self.dynamics.dim, maps
        )
        self.denoiser = build_denoiser(config.denoiser, shape)
        self.denoiser.begin_silent(self.conditioners.silent)
        heads = build_heads(config.head, spec, self.latent_shape, self.facing)
        self.head, self.depth_head = heads.state, heads.depth
        self.stride_head, self.event_head = heads.stride, heads.events
        self.normalizer = Normalizer(config.tokenizer.channels, p, s)
        surround_convolutions(self, spec.cameras)
        channels_last(self)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    @property
    def state_assisted(self) -> bool:
        """Whether it carries or learnt from the simulator's state or progress, which no robot
        knows."""
        return self.dynamics.state_dim > 0 or self.config.state_labels

    @property
    def depth_assisted(self) -> bool:
        """Whether its memory reads the simulator's depth or the truth, or a head learnt from it."""
        return self.config.depth_assisted

    @property
    def reader(self) -> FrameReader:
        """What a memory may ask it about latents."""
        far = None if self.depth_head is None else self.depth_head.metres
        kind = self.spec.depth or projections_of(self.spec.cameras)[0].depth
        return FrameReader(lambda x: to_pixels(self.decode_video(x)), far, kind, self.encode_video)

    def encode(self, pixels: Tensor, state: Tensor | None = None) -> Tensor:
        """Frames to latents `[..., V, c, h, w]`.

        Args:
            pixels: uint8 `[..., V, H, W, 3]`, wherever they are.
            state: `[..., D]` or proprioception `[..., P]`, by whose heading panoramas are turned
                back; UsageError where the model has them so, and nobody tells it.
        """
        video = to_model_video(pixels).to(self.device)
        if self.facing is not None:
            video = self.facing.back(video.float(), state)
        return self.encode_video(video)

    def encode_video(self, video: Tensor) -> Tensor:
        """float `[..., V, 3, H, W]` in [-1, 1], as latents show them, to latents."""
        video = video.to(self._dtype(self.tokenizer))
        return self.normalizer.normalize("latent", self.tokenizer.encode(video).float())

    def decode(
        self, latents: Tensor, seen: Tensor | None = None, state: Tensor | None = None
    ) -> Tensor:
        """Latents to frames uint8 `[..., V, H, W, 3]`; the inverse of `encode`.

        Args:
            latents: `[..., V, c, h, w]`.
            seen: `[..., V]` bool, False where a frame shall be black.
            state: see `encode`.
        """
        video = self.decode_video(latents)
        if self.facing is not None:
            video = self.facing.away(video.float(), state)
        frames = to_pixels(video)
        if seen is None or bool(seen.all()):
            return frames
        return frames.masked_fill(~seen[..., None, None, None], 0)

    def decode_video(self, latents: Tensor) -> Tensor:
        """The inverse of `encode_video`."""
        raw = self.normalizer.denormalize("latent", latents.float())
        video: Tensor = self.tokenizer.decode(raw.to(self._dtype(self.tokenizer)))
        return video

    def turned_depth(self, depth: Tensor | None, state: Tensor) -> Tensor | None:
        """Depth `[..., V, H, W]` of frames in states `[..., D]`, turned as their latents are."""
        if depth is None or self.facing is None:
            return depth
        return self.facing.depth(depth, state)

    def condition(
        self, batch: Mapping[str, Tensor], memory: MemoryView | None = None
    ) -> Conditioning:
        """Conditions of a recorded clip, see `condition_frames`.

        Args:
            batch: `action [B,T,A]` and `action_mask [B,T]` (action t is taken at frame t and leads
                to frame t+1), `agent_pos [B,T,P]`, `state [B,T,S]`, `view_mask [B,T,V]`, and if
                known `intrinsics`, `extrinsics`, `mounted`, `camera_pose [B,T,V,4,4]`.
            memory: what is known of the frames of the clip; None has none.
        """
        return self.condition_frames(FrameSteps.of(batch, self.dynamics), memory)

    def condition_frames(self, steps: FrameSteps, memory: MemoryView | None = None) -> Conditioning:
        """Conditions of the frames that `steps` lead to, of which a memory tells `memory`."""
        size = (self.latent_shape[1], self.latent_shape[2])
        maps = self.conditioners.maps(steps, size, memory)
        known = steps.mask[..., None, None, None, None]
        cond = Conditioning(
            steps.action,
            steps.mask,
            self.dynamics.normalize(steps.before),
            self.dynamics.normalize(steps.after),
            maps * known,
            steps.view_mask.float(),
            memory,
        )
        return cond if self.config.condition_on_state else cond.without_state()

    def rig(self, batch: Mapping[str, Tensor]) -> RigTensors:
        """Calibration out of a batch; unknown (all zero or absent) cameras become harmless."""
        return RigTensors.of(batch, self.views)

    def read_state(self, latents: Tensor, view_mask: Tensor | None = None) -> StateReading:
        """Readings in physical units off latents `[B, T, V, c, h, w]`."""
        raw = self.head(latents, view_mask)
        return StateReading(
            self.normalizer.denormalize("agent_pos", raw.agent_pos),
            self.normalizer.denormalize("state", raw.state),
            raw.success_logit,
            raw.progress,
        )

    @staticmethod
    def _dtype(module: nn.Module) -> torch.dtype:
        return next((parameter.dtype for parameter in module.parameters()), torch.float32)

    def trained_on(self, ladder: TrainedLadder, *, jumps: bool | None = None) -> "WorldModel":
        """A copy that says it was trained on `ladder`.

        Args:
            ladder: what the copy is to be trained on.
            jumps: whether it is conditioned on the level that a frame is to be taken to (by
                default its own); None leaves that as it is.
        """
        jumps = self.config.denoiser.jumps if jumps is None else jumps
        denoiser = replace(self.config.denoiser, jumps=jumps)
        twin = WorldModel(replace(self.config, denoiser=denoiser, ladder=ladder), self.spec)
        missing, surplus = twin.load_state_dict(self.state_dict(), strict=False)
        assert all(name.endswith("jump.weight") for name in (*missing, *surplus)), (
            missing,
            surplus,
        )
        twin.normalizer.load_json(self.normalizer.to_json())
        return twin.train(self.training)

    def remembering(self, recent: int, sink: int, memory: MemoryConfig) -> "WorldModel":
        """This model with another length of context and memory; see `WorldModelConfig`."""
        self.config = replace(self.config, recent=recent, sink=sink, memory=memory)
        self.remembers = registered_memories().get(memory.name).tells
        return self

    def trained_with(
        self,
        *,
        calibration: bool,
        state_labels: bool = False,
        depth_labels: bool = False,
        event_labels: bool = False,
    ) -> "WorldModel":
        """This model, which says whether it ever learnt from calibrated cameras and such labels."""
        learnt = self.config.calibrated or (calibration and self.conditioners.calibrated)
        self.config = replace(
            self.config,
            calibrated=learnt,
            state_labels=self.config.state_labels or state_labels,
            depth_labels=self.config.depth_labels or depth_labels,
            event_labels=self.config.event_labels or event_labels,
        )
        return self

    def save_pretrained(
        self, folder: str | Path, *, dtype: torch.dtype | None = None, card: str = ""
    ) -> None:
        """Write config.json, model.safetensors, normalizer.json and README.md.

        Args:
            dtype: precision of the stored weights, except the dynamics', whose errors add up over
                a rollout; None keeps them.
            card: text of the model card.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(self, folder / WEIGHTS, dtype, exact=("dynamics.",))
        write_json(folder / "normalizer.json", self.normalizer.to_json())
        write_text(folder / "README.md", card or f"# worldsim world model\n\n{self.spec}\n")
        if self.quality is not None:
            write_json(folder / QUALITY, self.quality.to_json())
        helped = {name: getattr(self, name) for name in ("state_assisted", "depth_assisted")}
        stored = {**helped, "config": asdict(self.config), "spec": self.spec.to_json()}
        save_config(folder, KIND, {"config_version": CONFIG_VERSION, **stored})

    @staticmethod
    def from_pretrained(reference: str | Path, revision: str | None = None) -> "WorldModel":
        """Load what `resolve_folder` finds, ready for inference.

        Raises:
            UsageError: not found, or it names a part that is not registered.
            DataError: files are missing, truncated or do not fit.
        """
        folder = resolve_folder(reference, revision)
        data = load_config(folder, KIND)
        with own_parts_told(folder):
            model = WorldModel(config_of(data, folder), WorldSpec.from_json(data["spec"]))
        load_weights(model, folder / WEIGHTS)
        model.normalizer.load_json(read_json(folder / "normalizer.json"))
        model.quality = StepQuality.measured(folder)
        return model.eval().requires_grad_(False)

"""The single checks of `worldsim doctor`; each returns one finding and none raises."""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from worldsim.errors import EXTRAS

Status = Literal["OK", "absent", "FAIL"]

LEAST_FREE_GB = 2.0
FRAME_SECONDS = 60.0

FRAME_SCRIPT = """
from worldsim.envs.gl import drawing_backend
drawing_backend()
import os, sys, time
import mujoco
xml = (
    "<mujoco><worldbody><light pos='0 0 3'/>"
    "<geom type='sphere' size='.3' rgba='1 0 0 1'/></worldbody></mujoco>"
)
model = mujoco.MjModel.from_xml_string(xml)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 64, 64)
renderer.update_scene(data)
frame = renderer.render()
start = time.perf_counter()
for _ in range(20):
    renderer.update_scene(data)
    renderer.render()
rate = 20 / (time.perf_counter() - start)
renderer.close()
red = float((frame[..., 0].astype(int) - frame[..., 1] > 40).mean())
backend = os.environ.get("MUJOCO_GL", "default")
print(f"{backend}: {rate:.0f} frames/s at 64x64, ball covers {red:.0%}")
sys.exit(0 if 0.02 < red < 0.9 else f"MUJOCO_GL={backend} rendered a wrong frame")
"""
"""Draws a red ball and looks for it. A broken GL driver may kill its process, so it gets one."""

GL_ADVICE = (
    "set MUJOCO_GL=egl, osmesa or glfw; on Debian and Ubuntu: "
    "apt-get install libegl1 libgl1-mesa-dri libegl-mesa0 libgles2"
)


@dataclass(frozen=True)
class Finding:
    """One row: what was looked at, how it stands, and the evidence or the remedy."""

    name: str
    status: Status
    detail: str


def all_findings(matmul_size: int, disk: Path) -> list[Finding]:
    """Every check, in reading order.

    Args:
        matmul_size: size of the square matrices multiplied to measure the processor.
        disk: folder whose free space counts.
    """
    required: list[tuple[str, Callable[[], str]]] = [
        ("Python", _python),
        ("torch", _torch),
        ("bf16", lambda: _bf16(matmul_size)),
        ("threads", _threads),
        ("packages", _packages),
        ("GL", _gl),
        ("H.264 encode+decode", lambda: _codec("libx264", "h264")),
        ("AV1 decode", lambda: _codec("libsvtav1", "libdav1d")),
        ("disk", lambda: _disk(disk)),
    ]
    findings = [_guarded(name, check) for name, check in required]
    optional = [_optional(package, extra) for package, extra in EXTRAS.items()]
    return [*findings, _habitat(), *optional]


def _guarded(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "OK", check())
    except Exception as error:  # a doctor reports every failure and goes on
        return Finding(name, "FAIL", f"{type(error).__name__}: {error}")


def _python() -> str:
    return f"{platform.python_version()} ({sys.prefix})"


def _torch() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.__version__}, cuda: {torch.cuda.get_device_name()}"
    return f"{torch.__version__}, cpu: {_processor()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _bf16(size: int) -> str:
    """Measured rates; slow bf16 is no failure, training then uses fp32."""
    import torch
    from torch.utils.benchmark import Timer

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rates = []
    for dtype in (torch.bfloat16, torch.float32):
        matrix = torch.randn(size, size, device=device).to(dtype)
        timer = Timer("a @ a", globals={"a": matrix}, num_threads=torch.get_num_threads())
        rates.append(2 * size**3 / timer.blocked_autorange(min_run_time=0.3).mean / 1e9)
    bf16, fp32 = rates
    verdict = "use it" if bf16 > fp32 else "fp32 is faster here"
    return f"{bf16:.0f} GFLOP/s against {fp32:.0f} in fp32 ({size}x{size} matmul): {verdict}"


def _threads() -> str:
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"torch uses {torch.get_num_threads()} of {usable} cores"


def _packages() -> str:
    names = ("worldsim", "gymnasium", "mujoco", "lightning", "diffusers", "pyarrow", "av")
    return ", ".join(f"{name} {version(name)}" for name in names)


def _gl() -> str:
    try:
        return _said_alone(FRAME_SCRIPT)
    except RuntimeError as error:
        raise RuntimeError(f"{error}; {GL_ADVICE}") from error


def _said_alone(script: str) -> str:
    """What a script prints in a process of its own.

    Raises:
        RuntimeError: it fails, with the last line of its complaint, or takes too long.
    """
    command = [sys.executable, "-c", script]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FRAME_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"its process takes over {FRAME_SECONDS:.0f} s") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"its process ends with {done.returncode}"]
        raise RuntimeError(said[-1])
    return done.stdout.strip()


def _codec(encoder: str, decoder: str) -> str:
    """Encode a short grey ramp in memory and read it back through the named decoder."""
    import io

    import av
    import numpy as np

    os.environ.setdefault("SVT_LOG", "1")  # errors only, not a page of settings
    levels = (40, 90, 140, 190)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(encoder, rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for level in levels:
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer, "r") as container:
        used = container.streams.video[0].codec_context.codec.name
        read = [float(f.to_ndarray(format="rgb24").mean()) for f in container.decode(video=0)]
    if used != decoder:
        raise RuntimeError(f"{used} decodes what {encoder} wrote, expected {decoder}")
    if len(read) != len(levels) or max(abs(np.subtract(read, levels))) > 8:
        raise RuntimeError(f"wrote grey frames {levels}, read {np.round(read, 1).tolist()}")
    return f"{encoder} to {decoder}, PyAV {av.__version__}"


def _disk(folder: Path) -> str:
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if free < LEAST_FREE_GB:
        raise RuntimeError(f"{free:.1f} GB free at {existing}, at least {LEAST_FREE_GB} GB needed")
    return f"{free:.1f} GB free at {existing}"


def _optional(package: str, extra: str) -> Finding:
    if importlib.util.find_spec(package) is None:
        return Finding(package, "absent", f"optional: pip install 'worldsim[{extra}]'")
    return Finding(package, "OK", f"optional, extra {extra!r}")


HABITAT_SCRIPT = """
from worldsim.envs.habitat.library import habitat_sim
from worldsim.errors import UsageError
try:
    print(f"version {habitat_sim().__version__}")
except UsageError as error:
    raise SystemExit(str(error))
"""
"""Its compiled parts may end a process, so it is imported in one of its own."""


def _habitat() -> Finding:
    """Whether habitat-sim is here, and of a version that is known; it has no wheel, so no extra."""
    from worldsim.envs.habitat.library import ROUTE, is_there

    name = "habitat_sim"
    if not is_there():
        return Finding(name, "absent", f"optional, for env=habitat: {ROUTE}")
    try:
        return Finding(name, "OK", f"optional, for env=habitat: {_said_alone(HABITAT_SCRIPT)}")
    except RuntimeError as error:
        return Finding(name, "absent", f"optional, for env=habitat: {error}")

"""What is in a data set, in lines for people."""

from collections import Counter

import numpy as np

from worldsim.data.dataset import LeRobotDataset


def behaviour_lines(dataset: LeRobotDataset) -> list[str]:
    """Counts and success rate by behaviour, then over all, one line each."""
    metas = [dataset.meta(i) for i in range(dataset.num_episodes)]
    counts = Counter(meta.behaviour or meta.policy for meta in metas)
    solved = Counter(meta.behaviour or meta.policy for meta in metas if meta.success)
    frames = sum(record.length for record in dataset.index.records)
    lines = [
        f"{name}: {count} episodes, success rate {solved[name] / count:.2f}"
        for name, count in sorted(counts.items())
    ]
    rate = sum(solved.values()) / len(metas)
    return [*lines, f"all: {len(metas)} episodes, {frames} frames, success rate {rate:.2f}"]


def describe(dataset: LeRobotDataset) -> list[str]:
    """The world, the episodes and the spread of actions."""
    spec, info = dataset.spec, dataset.info
    lengths = np.array([record.length for record in dataset.index.records])
    cameras = ", ".join(f"{c.name} {c.height}x{c.width}" for c in spec.cameras)
    action, tasks = spec.action, list(dataset.index.tasks.values())
    lines = [
        f"data set: {dataset.root} (LeRobot {info['codebase_version']})",
        f"recorded in: {dataset.env_info.get('id') or info.get('robot_type') or 'unknown'}",
        f"rate: {spec.fps:g} fps",
        f"cameras: {cameras}",
        f"action: {', '.join(action.names)} ({action.mode}, {action.frame} frame)",
        f"proprioception: {', '.join(spec.agent_pos.names) or 'none'}",
        f"state: {', '.join(spec.state.names) or 'none'}",
        f"tasks: {len(tasks)}{f', such as {tasks[0]!r}' if tasks else ''}",
        f"frames an episode: {lengths.min()} to {lengths.max()}, median {np.median(lengths):g}",
    ]
    size = sum(path.stat().st_size for path in dataset.root.glob("[dmv]*/**/*") if path.is_file())
    return [*lines, f"size: {size / 1e6:.1f} MB", *behaviour_lines(dataset)]

"""An episode metric of one's own: how often the agent turned."""

from worldsim.rollout.episodes import Episode, Trajectory, register_metric

NAME = "turns"
TURNS = slice(2, 4)
"""Choices that turn, in the toy room's actions."""


@register_metric(NAME, "turns", more_is_better=False)
def turns(trajectory: Trajectory, episode: Episode) -> float:
    return float(trajectory.action[:, TURNS].sum())

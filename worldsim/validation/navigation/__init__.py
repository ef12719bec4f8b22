"""Navigation metrics without a simulator: NumPy, a walk, and a function of distances.

walk = Walk(positions, headings, actions)
course = Course(goals=(goal,), geodesic=path_finder)
NAVIGATION_METRICS.get("spl")(walk, course)
evaluate(walks, courses).means
"""

from worldsim.data.navigation.walk import ACTIONS, STOP, Walk
from worldsim.validation.navigation import formulas, goal_metrics, path_metrics
from worldsim.validation.navigation.course import Course, UndefinedMetricError
from worldsim.validation.navigation.geodesic import Geodesic, GeodesicTable, straight_line
from worldsim.validation.navigation.metric import (
    NAVIGATION_METRICS,
    NavigationMetric,
    sub_task_successes,
)
from worldsim.validation.navigation.summary import NavigationScores, evaluate
from worldsim.validation.navigation.trajectory_error import (
    absolute_trajectory_error,
    relative_pose_error,
)
from worldsim.validation.navigation.warping import dynamic_time_warping, normalised_warping

__all__ = [
    "ACTIONS",
    "NAVIGATION_METRICS",
    "STOP",
    "Course",
    "Geodesic",
    "GeodesicTable",
    "NavigationMetric",
    "NavigationScores",
    "UndefinedMetricError",
    "Walk",
    "absolute_trajectory_error",
    "dynamic_time_warping",
    "evaluate",
    "formulas",
    "goal_metrics",
    "normalised_warping",
    "path_metrics",
    "relative_pose_error",
    "straight_line",
    "sub_task_successes",
]

"""Navigation metrics without a simulator: NumPy, a walk, and a function of distances.

walk = Walk(positions, headings, actions)
course = Course(goals=(goal,), geodesic=path_finder)
NAVIGATION_METRICS.get("spl")(walk, course)
evaluate(walks, courses).means
"""

from worldsim.data.navigation.walk import ACTIONS, STOP, Walk
from worldsim.validation.navigation import goal_metrics, path_metrics
from worldsim.validation.navigation.course import Course, UndefinedMetricError
from worldsim.validation.navigation.geodesic import Geodesic, GeodesicTable, straight_line
from worldsim.validation.navigation.metric import NAVIGATION_METRICS, NavigationMetric
from worldsim.validation.navigation.summary import NavigationScores, evaluate

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
    "evaluate",
    "goal_metrics",
    "path_metrics",
    "straight_line",
]

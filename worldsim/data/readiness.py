"""What training needs of a data set, beside files that are sound."""

from worldsim.data.dataset import LeRobotDataset
from worldsim.data.faults import Fault
from worldsim.data.layout import INFO
from worldsim.data.records import EPISODES
from worldsim.errors import WorldsimError


def training_faults(dataset: LeRobotDataset) -> list[Fault]:
    """Why no world model can be trained on a data set.

    `worldsim train` refuses it for these reasons before its first stage, and `worldsim data
    verify` lists them.
    """
    try:
        _ = dataset.spec
    except WorldsimError as error:
        return [Fault(INFO, None, str(error))]
    if max(record.length for record in dataset.index.records) < 2:
        message = "no episode has two rows, so none shows what an action does; record longer ones"
        return [Fault(EPISODES, None, message)]
    return []

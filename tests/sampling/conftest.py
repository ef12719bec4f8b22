"""The streams that the tests here share."""

import pytest
from stream_testing import SCHEDULES, make_stream

from worldsim.sampling.stream import Stream


@pytest.fixture(params=SCHEDULES, scope="module")
def stream(request: pytest.FixtureRequest) -> Stream:
    return make_stream(SCHEDULES[request.param])

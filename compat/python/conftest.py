import pytest

from server import IS_SPINWARD, Server, config


@pytest.fixture(scope="module")
def server():
    with Server(config()) as running:
        yield running


@pytest.fixture
def only_spinward():
    if not IS_SPINWARD:
        pytest.skip("asks for what Spinward alone has")

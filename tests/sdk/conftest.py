import os

import pytest
from openai import OpenAI

from demo import Customer, Demo

# The demo is on loopback, whatever proxy leads to the rest of the world.
os.environ["NO_PROXY"] = "127.0.0.1"


@pytest.fixture(scope="session")
def running():
    demo = Demo()
    yield demo
    demo.stop()


@pytest.fixture
def demo(running):
    running.strike()
    yield running
    running.strike()


@pytest.fixture(scope="session")
def customer(running):
    return Customer(running)


@pytest.fixture
def client(demo, customer):
    """OpenAI's client as customers make it."""
    with OpenAI(api_key=customer.key, base_url=f"{demo.product}/v1") as client:
        yield client

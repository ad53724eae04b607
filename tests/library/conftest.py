"""What the library's tests share: a warning is a failure, and Hypothesis repeats itself."""

import warnings

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "library",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    # The fixture below makes nothing that an example could spoil.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("library")


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield

"""3.x from its published package; nothing here is tested without it."""

from __future__ import annotations

import os

import pytest

from tools import upstream


@pytest.fixture(autouse=True, scope="session")
def packages() -> None:
    """Make the environments that these tests use."""
    try:
        for version in (upstream.VERSION, upstream.OLDEST):
            upstream.python(version)
    except upstream.UpstreamError as error:
        if os.environ.get(upstream.REQUIRED):
            message = f"{upstream.MISSING}, and {upstream.REQUIRED} is set:\n{error}"
            pytest.fail(message, pytrace=False)
        pytest.skip(f"{upstream.MISSING}: nothing here was tested")

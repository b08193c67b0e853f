"""The rule where there is no switch, and what the acceptance calls share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.switch import harness


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip every test of this directory, saying why, where there is no switch."""
    reason = harness.why_not()
    here = Path(__file__).parent
    for item in items:
        if reason is not None and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> harness.Installation:
    """The FreeSWITCH that we were given."""
    return harness.Installation(os.environ["CORDBOARD_TEST_FREESWITCH"], tmp_path_factory.mktemp("certificates"))

"""What every test shares: how property tests run, and where recorded market data lies."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
RECORDED_DATA = ROOT.parent / "shared" / "data"

# No deadline an example: a test must not fail because the machine is busy.
settings.register_profile(
    "tapeline", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("tapeline")


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder with recorded market data; the test is skipped where it is absent."""
    if not RECORDED_DATA.is_dir():
        pytest.skip("no recorded market data in ../shared/data")
    return RECORDED_DATA

"""Settings of hypothesis for the whole suite."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The suite draws the same examples on every run; `pytest --hypothesis-profile=search` looks for new ones.
_QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "steady", deadline=None, database=None, max_examples=60, derandomize=True, suppress_health_check=_QUIET
)
settings.register_profile("search", deadline=None, database=None, max_examples=1000, suppress_health_check=_QUIET)
settings.load_profile("steady")

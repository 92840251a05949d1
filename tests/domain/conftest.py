"""How many examples the property tests try: few by default, many with HYPOTHESIS_PROFILE=ci."""

import os

from hypothesis import HealthCheck, settings

# No deadline: how long an example takes says something about the machine, nothing about the domain.
settings.register_profile("quick", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("quick"), max_examples=1_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

"""How many examples the property tests try: few by default; HYPOTHESIS_PROFILE=ci tries many, =long even more."""

import os

from hypothesis import HealthCheck, settings

# No deadline: how long an example takes says something about the machine, nothing about the domain.
settings.register_profile("quick", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples each time: a rare one is to be found by the long profile, not by somebody else's change.
settings.register_profile("ci", parent=settings.get_profile("quick"), max_examples=300, derandomize=True)
settings.register_profile("long", parent=settings.get_profile("quick"), max_examples=4_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

"""Tiers: a function of facts with their own times. `timeline` has all at once, `recounting` one step after another."""

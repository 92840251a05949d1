"""Celery tasks: transport, batching and time limits. No business decision is made here."""

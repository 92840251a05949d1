"""PostgreSQL and Valkey from wheels, run as our own child processes. `workers.embedded` is the way in."""

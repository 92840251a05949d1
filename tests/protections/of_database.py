"""What protects messages from a database that is away, read-only or held by others. See `table`."""

from tests.protections.protection import Edit, Protection

_BATCH = "core/posting/batch.py"
_SESSIONS = "core/store/sessions.py"
_LEDGER = "core/store/ledger.py"

OF_DATABASE = (
    Protection(
        "a stamp that changes with every change of a version",
        "a running worker judges by the versions that are in force",
        (Edit("core/store/programs.py", " + (SELECT count(*) FROM program_changes)", ""),),
        ("tests/store/test_programs.py::TestVersionsOfTheFuture",),
    ),
    Protection(
        "an outage is not the fault of a message",
        "no message is parked because the database was away",
        (
            Edit(
                "core/store/failures.py",
                "isinstance(cause, _OUTAGES)",
                "isinstance(cause, psycopg.ProgrammingError)",
            ),
        ),
        seeds=(41,),
    ),
    Protection(
        "a read-only database is an outage",
        "no message is parked because the database takes no changes for a while",
        (Edit("core/store/failures.py", "    psycopg.errors.ReadOnlySqlTransaction,\n", ""),),
        tests=("tests/store/test_sessions.py",),
    ),
    Protection(
        "a read-only session is given up",
        "roles go on by themselves after a failover",
        (
            Edit(
                _SESSIONS,
                "        except psycopg.errors.ReadOnlySqlTransaction:\n            self.pgconn.finish()\n",
                "        except psycopg.errors.ReadOnlySqlTransaction:\n",
            ),
            Edit("core/store/engine.py", " or (must_write and session.is_read_only)", ""),
        ),
        tests=("tests/store/test_sessions.py",),
    ),
    Protection(
        "a session that has ended goes back to the pool",
        "a process that has lost its database as often as it has sessions goes on all the same",
        (
            Edit(
                _SESSIONS,
                "        if not self.closed:\n            super().set_autocommit(value)\n",
                "        super().set_autocommit(value)\n",
            ),
            Edit(
                _SESSIONS,
                "        if not self.closed:\n            super().set_isolation_level(value)\n",
                "        super().set_isolation_level(value)\n",
            ),
        ),
        tests=("tests/store/test_sessions.py",),
    ),
    Protection(
        "a shard's first events are found by the index of their pairs",
        "what looks for work reads no more than it finds",
        (
            Edit(
                "core/store/outbox.py",
                "(account_shard, outbox_id) > ({{shard}}, {PUBLISHED_THROUGH}) AND account_shard <= {{shard}}",
                "account_shard = {{shard}} AND outbox_id > {PUBLISHED_THROUGH}",
            ),
        ),
        tests=("tests/store/test_stale_statistics.py",),
    ),
    Protection(
        "what is sent together ends with a Sync",
        "a process that stands still within a transaction does not hold its rows for ever",
        (Edit(_SESSIONS, "self._pipeline = _Together(self)", "self._pipeline = psycopg.Pipeline(self)"),),
        tests=("tests/store/test_sent_together.py",),
    ),
    Protection(
        "what is kept goes before whatever is run another way",
        "statements mean the same together as one by one",
        (
            Edit(
                _SESSIONS,
                "        self.run_kept()\n        return super().cursor(",
                "        return super().cursor(",
            ),
        ),
        tests=("tests/store/test_sent_together.py",),
    ),
    Protection(
        "a session that the server has ended is not handed out",
        "nothing fails because the database was restarted meanwhile",
        (Edit(_SESSIONS, "self.closed or self._has_ended()", "self.closed"),),
        tests=("tests/store/test_sessions.py",),
    ),
    Protection(
        "a session that was silent for long is asked whether it works",
        "what a firewall has forgotten fails no message",
        (
            Edit(
                _SESSIONS,
                "if monotonic() - self.answered_at < _TRUSTED_SECONDS:",
                "if self.answered_at:",
            ),
        ),
        tests=("tests/store/test_sessions.py",),
    ),
    Protection(
        "that we calculated too long is not an outage",
        "a message that takes too long is parked, and holds its shard up no longer",
        (Edit("core/store/failures.py", " and not isinstance(cause, CalculatedTooLongError)", ""),),
        tests=("tests/posting/test_isolation.py::TestSlowness",),
    ),
    Protection(
        "a batch whose statement was cancelled is done message by message",
        "a batch that is too large for its time limits is not tried again and again as it is",
        (Edit(_BATCH, " or isinstance(error, psycopg.errors.QueryCanceled)", ""),),
        tests=("tests/posting/test_isolation.py::TestSlowness",),
    ),
    Protection(
        "a shard without its rows is left alone",
        "one blocked shard does not take the child processes that the others need",
        (Edit(_BATCH, "monotonic() < held_up.until", "held_up.until < 0"),),
        tests=("tests/posting/test_isolation.py::TestHeldUp",),
    ),
    Protection(
        "upkeep leaves alone what somebody holds",
        "one blocked account does not hold up everybody's expiry",
        (Edit(_LEDGER, 'f"{_LOCK_ACCOUNTS} SKIP LOCKED"', "_LOCK_ACCOUNTS"),),
        tests=("tests/upkeep/test_due_batches.py::TestExpiry",),
    ),
    Protection(
        "a snapshot that cannot write",
        "what reads changes nothing",
        (Edit("core/reading/snapshot.py", ", postgresql_readonly=True", ""),),
        ("tests/reading/test_storefront.py::test_a_snapshot_can_change_nothing",),
    ),
    Protection(
        "tables that a reporting tool could read after all are told of",
        "reporting tools see the views alone",
        (
            Edit(
                "core/store/grants.py",
                " or find_readable(connection, role, list(WORKER_GRANTS))\n",
                "\n",
            ),
        ),
        ("tests/store/test_report_views.py::test_a_role_that_reads_a_table_as_everybody_does_is_refused",),
    ),
    Protection(
        "grants by column",
        "the worker's role cannot rewrite what an order said",
        (
            Edit(
                "core/store/grants.py",
                """updates = f"UPDATE ({', '.join(self.updates)})" if self.updates else \"\"""",
                'updates = "UPDATE" if self.updates else ""',
            ),
        ),
        ("tests/store/test_grants.py::test_the_server_refuses_the_workers_role_every_column_that_nothing_updates",),
    ),
)

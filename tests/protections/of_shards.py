"""The protections of shards in posting: how they are taken out, and what must then go red."""

from tests.protections.protection import Edit, Protection

_BATCH = "core/posting/batch.py"
_TURNS = "core/store/posting_turns.py"
_TOGETHER = "tests/posting/test_shards_together.py"

OF_SHARDS = (
    Protection(
        "the shard's turn in posting",
        "a customer's messages are posted by one worker at a time, each once",
        (
            Edit(
                _TURNS,
                "    _ALONG,\n)\n",
                "    _ALONG,\n).replace('FOR UPDATE SKIP LOCKED', '')\n",
            ),
        ),
    ),
    Protection(
        "a shard where a process has died is posted by itself",
        "a message that kills its worker takes none with it that are of other shards",
        (
            Edit(
                _TURNS,
                """        WHERE NOT {_HAS_DIED.format(shard="s.shard")}\n""",
                "",
            ),
        ),
        tests=(_TOGETHER,),
    ),
    Protection(
        "a shard whose rows others hold is not taken along",
        "somebody who holds rows of one customer holds up one shard",
        (
            Edit(
                _TURNS,
                "ALL(%(shards)s::smallint[] || %(left_out)s::smallint[])",
                "ALL(%(shards)s::smallint[])",
            ),
        ),
        tests=("tests/posting/test_isolation.py::TestHeldUp",),
    ),
    Protection(
        "shards that failed together are posted apart",
        "a message that cannot be posted keeps back none of another shard",
        (Edit(_BATCH, "            if is_apart:\n                raise _TogetherError(shards) from error\n", ""),),
        tests=(_TOGETHER,),
    ),
    Protection(
        "every shard of a batch is asked for once more",
        "what comes for a shard while it is posted along with others does not wait for the sweep",
        (Edit("tasks/posting.py", "        ours |= batch.shards\n", ""),),
        tests=("tests/tasks/test_posting_task.py",),
    ),
    Protection(
        "attempts are counted before the work",
        "a message that kills its worker is parked after a few deaths",
        (Edit(_BATCH, "        self._count_attempt(turn.begun.shards)\n", ""),),
        tests=(
            "tests/posting/test_isolation.py::TestDeath::test_of_the_process_at_one_message_parks_it_after_a_few_times",
        ),
    ),
)

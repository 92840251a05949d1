"""The protections of intake against what a stranger sends: how they are taken out, and what must then go red."""

from tests.protections.protection import Edit, Protection

_PROBLEMS = "core/messages/inbound/problems.py"
_PERSONAL = "core/messages/inbound/personal_names.py"
_COST = ("tests/fuzz/test_cost.py",)
_STREAMS = ("tests/workers/brokers/test_broker_streams.py::TestLargeEntries",)

OF_READING = (
    Protection(
        "a bounded comparison of names",
        "no message costs much more than its bytes",
        (Edit(_PROBLEMS, "_NAMES_COMPARED_MAX = 400\n", "_NAMES_COMPARED_MAX = 400_000_000\n"),),
        _COST,
    ),
    Protection(
        "a bounded look at the lines behind a wrong one",
        "no message costs much more than its bytes",
        (Edit(_PROBLEMS, "_LINES_CHECKED_MAX = 100\n", "_LINES_CHECKED_MAX = 100_000_000\n"),),
        _COST,
    ),
    Protection(
        "a bounded number of problems of a file",
        "no file costs much more than its bytes",
        (Edit("core/messages/yaml_source.py", "PROBLEMS_TOLD_MAX = 30\n", "PROBLEMS_TOLD_MAX = 30_000_000\n"),),
        _COST,
    ),
    Protection(
        "messages read before the transaction",
        "what a stranger sends ends no session",
        (
            Edit(
                "core/receiving/receive.py",
                "    yield from _in_parts(store, _read(beside, limits, now, contracts))\n",
                "    with engine.begin():\n"
                "        read = list(_read(beside, limits, now, contracts))\n"
                "    yield from _in_parts(store, read)\n",
            ),
        ),
        ("tests/workers/test_intake.py::test_no_session_is_held_while_messages_are_read_and_explained",),
    ),
    Protection(
        "replies of which what does not fit is cut",
        "whatever waits, intake holds no more than a batch",
        (
            Edit(
                "workers/brokers/stream_replies.py", "        if length <= self._left_bytes:\n", "        if length:\n"
            ),
        ),
        _STREAMS,
    ),
    Protection(
        "ids of characters that are seen",
        "two customers never look like one",
        (Edit("core/messages/inbound/fields.py", "pattern=id_pattern())]", "pattern=LABEL_PATTERN)]"),),
        ("tests/domain/test_ids.py::test_the_contract_refuses_what_has_a_reason_to_be_refused_and_nothing_else",),
    ),
    Protection(
        "values quoted in suggested commands",
        "what a shop writes into an id is never run by a shell",
        (Edit("workers/cli/output.py", "{shlex.join(words)}", "{' '.join(words)}"),),
        ("tests/workers/cli/test_shown_commands.py::test_a_shell_reads_a_value_as_one_word",),
    ),
    Protection(
        "hashes in the place of phone numbers and e-mail addresses",
        "nothing behind intake holds what a customer is called or written by",
        (Edit(_PERSONAL, "data[kind] = _hidden(kind, data[kind], salt)\n", "pass\n"),),
        ("tests/messages/test_personal_names.py::TestHashes",),
    ),
    Protection(
        "events without the hashes of phone numbers",
        "no consumer gets what numbers could be tried against",
        (
            Edit(
                "core/domain/value/commands.py",
                '    return "hidden" if kind in HIDDEN else reference\n',
                "    return reference\n",
            ),
        ),
        ("tests/posting/test_linked_names.py::test_each_change_is_told_and_what_changes_nothing_is_not",),
    ),
    Protection(
        "a secret in the hashes of phone numbers",
        "who has the database alone cannot try all numbers",
        (Edit(_PERSONAL, "            if salt is None:\n                return kind\n", ""),),
        ("tests/messages/test_personal_names.py::TestHashes",),
    ),
    Protection(
        "phone numbers in one form",
        "a customer is found however the number is grouped",
        (
            Edit(
                _PERSONAL,
                "    return phonenumbers.format_number(number, PhoneNumberFormat.E164)\n",
                "    return text\n",
            ),
        ),
        ("tests/messages/test_personal_names.py::TestPhoneNumbers",),
    ),
)

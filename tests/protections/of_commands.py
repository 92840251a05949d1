"""What protects commands: each is done once, answered for ever the same, and only for who may command. See `table`."""

from tests.protections.protection import Edit, Protection

_SITUATIONS = "core/domain/value/situations.py"
_REWARDS = "tests/posting/test_rewards.py"
_LIMITS = "tests/posting/test_customer_limits.py"
_ONCE = "tests/posting/test_posted_commands.py::TestOnceAndForEver"

OF_COMMANDS = (
    Protection(
        "one answer for each command",
        "a command is done once, even if the lock on its shard failed",
        (
            Edit(
                "core/store/migrations/versions/0001_ledger_inbox_and_outbox.py",
                "    CONSTRAINT pk_commands PRIMARY KEY (source, command_id),\n",
                "",
            ),
        ),
        ("tests/store/test_constraints.py::test_is_refused[pk_commands]",),
    ),
    Protection(
        "a known command is not done again",
        "a command is done once, also when its message is long purged",
        (
            Edit(
                _SITUATIONS,
                "    known = books.command((message.fact.source, message.event_id))\n    if known is None:\n",
                "    known = books.command((message.fact.source, message.event_id))\n    if known or known is None:\n",
            ),
        ),
        (f"{_ONCE}::test_so_does_one_whose_message_is_long_purged",),
    ),
    Protection(
        "other content under a known id is a conflict",
        "nobody takes an answer to one command for that to another",
        (Edit(_SITUATIONS, "Replayed() if known.digest == message.digest else conflict()", "Replayed()"),),
        (f"{_ONCE}::test_other_content_under_a_known_id_is_a_conflict",),
    ),
    Protection(
        "the answer leaves in the commit that did it",
        "whoever asks is told",
        (
            Edit(
                "core/posting/writing.py",
                "        self._tell(command.inbox_id, answer_event(asked, data, account, self._context))\n",
                "",
            ),
        ),
        ("tests/posting/test_posted_commands.py::TestCredit",),
    ),
    Protection(
        "a refusal has an event of its own",
        "a consumer that drops repeats drops no answer",
        (
            Edit(
                "core/posting/answers.py",
                '    event_id = f"{_answer_id(asked)} {inbox_id}:{deliveries}"\n',
                "    event_id = _answer_id(asked)\n",
            ),
        ),
        (f"{_ONCE}::test_a_refusal_is_no_answer_to_what_its_id_names",),
    ),
    Protection(
        "only who was granted it may command",
        "publishing orders does not allow crediting",
        (
            Edit(
                "core/messages/inbound/reading.py",
                "    if not event.is_command:\n        return event\n",
                "    return event\n",
            ),
        ),
        ("tests/posting/test_posted_commands.py::TestWhoMayCommand",),
    ),
    Protection(
        "a frozen account gives nothing away",
        "what a person has frozen stays where it is",
        (Edit(_SITUATIONS, " or status_problem(found.account, flow)", ""),),
        ("tests/posting/test_posted_commands.py::TestNamingTheAccount",),
    ),
    Protection(
        "intake finds the shard of an account that is named itself",
        "an account's commands are posted in order, by one worker at a time",
        (
            Edit(
                "core/store/inbox.py",
                "    ELSE (SELECT r.shard FROM account_references r\n",
                "    ELSE (SELECT NULL::integer FROM account_references r\n",
            ),
        ),
        ("tests/store/test_subjects.py",),
    ),
    Protection(
        "points of the order itself are taken first also where they are reserved",
        "what else a customer has reserved stays reserved as long as it can",
        (
            Edit(
                "core/domain/orders/withdrawing.py",
                "    held.sort(key=lambda each: each[1].lot.origin.key != of_order)\n",
                "",
            ),
        ),
        ("tests/posting/test_withdrawn_reserves.py::TestARefund",),
    ),
    Protection(
        "what a clawback has taken of an authorization does not come back with the rest",
        "reserved points are taken once",
        (
            Edit(
                "core/store/movements.py",
                "      AND c.command_id IS NULL AND c.source IS NOT NULL AND b",
                "      AND false AND b",
            ),
        ),
        ("tests/posting/test_withdrawn_reserves.py",),
    ),
    Protection(
        "a customer is held to the program's limits",
        "nobody redeems, transfers, converts or is credited more than the program lets them",
        (
            Edit(
                "core/domain/value/customer_limits.py",
                "                if used + points > period.points_max:\n",
                "                if used + points < 0:\n",
            ),
        ),
        (f"{_LIMITS}::TestWhatCounts",),
    ),
    Protection(
        "what is undone gives its part of a limit back",
        "who lets a basket go may fill another one",
        (
            Edit(
                "core/domain/value/customer_limits.py",
                "            more += given_back(books, entry, change.account.program_id, rules)\n",
                "",
            ),
        ),
        (f"{_LIMITS}::TestWhatIsGivenBack",),
    ),
    Protection(
        "a reward's stock is held whichever worker posts",
        "no more of a reward is given than there is",
        (Edit("core/domain/value/rewards.py", "had.by_all >= reward.stock", "had.by_all > reward.stock"),),
        (f"{_REWARDS}::TestIssue",),
    ),
    Protection(
        "a customer gets a reward so often",
        "nobody has a reward more often than its program says",
        (
            Edit(
                "core/domain/value/rewards.py", "had.by_customer >= reward.per_customer", "had.by_customer > had.by_all"
            ),
        ),
        (f"{_REWARDS}::TestIssue",),
    ),
    Protection(
        "a reward stays what it was when it was issued",
        "a later version of the program changes nothing of what a customer has",
        (
            Edit(
                "core/domain/value/rewarding.py",
                "issued_offer(situation.rules, program_id, movement.program_version, issued.reward_id)",
                "issued_offer(situation.rules, program_id, situation.program_version, issued.reward_id)",
            ),
        ),
        (f"{_REWARDS}::TestRedeem",),
    ),
    Protection(
        "a reward whose deadline passes can be given again",
        "a stock is not used up by what nobody has",
        (
            Edit(
                "core/domain/value/authorizing.py",
                "changes=(change,), budgets=count.budgets, rewards=(notice,))",
                "changes=(change,), rewards=(notice,))",
            ),
        ),
        (f"{_REWARDS}::TestTakingBack",),
    ),
)

"""What keeps customers erased, and their numbers right. See `table`."""

from tests.protections.protection import Edit, Protection

_ERASING = "core/store/erasing.py"
_TESTS = ("tests/posting/test_erased_customers.py",)
_LATE = "core/receiving/erased_customers.py"
_CHAIN = "core/store/proof/chain.py"

OF_ERASURE = (
    Protection(
        "messages are looked at for who was erased",
        "what comes late brings nobody back",
        (Edit("core/receiving/receive.py", "    if state.erasures:\n", "    if not state:\n"),),
        _TESTS,
    ),
    Protection(
        "messages are stored only if nobody was erased since it was asked",
        "what comes late brings nobody back",
        (Edit("core/store/inbox.py", "if erasures is not None and any(", "if erasures is None and any("),),
        ("tests/receiving/test_recent_state.py",),
    ),
    Protection(
        "a command that names who was erased is rejected",
        "nothing is opened, or given, for who was erased",
        (
            Edit(
                "core/domain/value/situations.py",
                "return customer_erased() if message.names_erased else None",
                "return None",
            ),
        ),
        _TESTS,
    ),
    Protection(
        "nothing is received under another secret than that which recognises them",
        "a slip in a setting brings nobody back",
        (Edit("core/store/erasures.py", "    if _salt_check(salt) != rows[0][0]:\n", "    if not rows:\n"),),
        _TESTS,
    ),
    Protection(
        "nobody is erased of whom nothing is held",
        "a slip of the pen makes no guests of somebody else's orders",
        (Edit("core/posting/erasing.py", " if done.command_key else unknown_customer()", ""),),
        _TESTS,
    ),
    Protection(
        "an order's hash is of what is left of it",
        "whoever changes an erased customer's order is seen",
        (Edit(_ERASING, "    _hash_again(work, tables.orders, [(*row[:3], row[-1]) for row in found])\n", ""),),
        _TESTS,
    ),
    Protection(
        "an explanation's digest outlasts it",
        "the chain holds when a person is erased",
        (Edit(_ERASING, "    _APPEND_WHYS.run(work.connection, kept)\n", ""),),
        _TESTS,
    ),
    Protection(
        "what is left of an explanation has a seal",
        "whoever changes an erased customer's explanation is seen",
        (Edit(_CHAIN, "if erased_seal is None or not self._keys.fits(erased_seal, kept):", "if erased_seal is None:"),),
        ("tests/store/test_chain.py",),
    ),
    Protection(
        "a reported order of who was erased is stored as what it reports",
        "bytes of late refunds hold nothing of a person",
        (
            Edit(
                "core/receiving/erased_customers.py",
                "        elif named or order in orders:\n",
                "        elif named:\n",
            ),
        ),
        _TESTS,
    ),
)

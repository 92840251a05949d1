"""The rules of the ledger, as pure functions: no clock, no I/O, no environment, no logging, no randomness.

Every decider takes what is known and returns what to write: `decide_*(state, fact, program, as_of) -> Decision`.
The identity that every module keeps:

    balance = sum of the account's entries = sum of points_remaining of its available lots - deficit
"""

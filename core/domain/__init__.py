"""The rules of the ledger, as pure functions: no clock, no I/O, no environment, no logging, no randomness.

A decider takes what is known and returns what to write, or why nothing is written:

    decide_*(books, message, rules, as_of) -> Decision | Replayed | Waiting | Parked

The identity that every decision keeps:

    balance = sum of the account's entries = sum of points_remaining of its available lots - deficit

Read in this order; it takes half an hour:

1. `ledger`: accounts and entries; a credit and a debit
2. `lots`: the points of one credit, which debits take from
3. `books`: what is known of accounts and orders; asking for what was not loaded raises
4. `decision`: what a decider returns
5. `orders.accrual`: what a completed order does
6. `orders.clawback`: what a refund or a cancellation does
7. `expiry.due`: how time releases and expires lots
8. `orders.fulfilment`: what the delivery of an order does

The rest is looked up when it is needed. What an order earns: `orders.facts`, `orders.basket`, `orders.earning`,
`orders.reckoning`, `orders.limits`. Which tier an account is in: `tiers`. When points end: `expiry.dates`. What must be
loaded for a message: `reach`. What a program file may say: `program`.
"""

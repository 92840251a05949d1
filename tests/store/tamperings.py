"""Ways to break the ledger of test_verify.py: for each check some that it must find; others may find them too."""

YEARLY_ACCOUNT = "(SELECT account_id FROM accounts WHERE program_id = 'yearly' AND customer_id = 'c4')"
SUMS = "balance, pending, reserved and deficit are the sums of their changes"
#: A change of version 2 of the program "later", which is of the future: its number, and until when.
CHANGE = "INSERT INTO program_changes SELECT 'later', {}, {}, {}, now(), 'anna', 'later still'"
VERSIONS = "versions keep their order, and change only before they are in force"

SHARED = "lots that share their expiry are of one kind, and none is left once it is over"
SHARE = """
INSERT INTO shared_expiries (account_id, expires_with, account_shard, earned_by, expires_at, is_over)
SELECT account_id, 1, account_shard, {}, '2999-01-01', {} FROM accounts
ON CONFLICT DO NOTHING; {}
"""
WITH_FIRST = "UPDATE lots SET expires_with = 1, expires_at = NULL"

HELD = "what waits for the fulfilment of an order is what it earns with what is not fulfilled"
PARCELS_ACCOUNT = "(SELECT account_id FROM accounts WHERE customer_id = 'h3')"
#: Points of an order that is fulfilled in part, from what is available to what waits, as if they had been granted so.
EARLIER_OR_LATER = """
UPDATE lots SET points_granted = points_granted + moved.points, points_remaining = points_remaining + moved.points
FROM (VALUES (true, {0}), (false, -({0}))) AS moved(is_pending, points)
WHERE origin_id = 'parcels' AND lots.is_pending = moved.is_pending
"""

TAMPERED = [
    (
        "an issued reward costs what the version says that issued it",
        "UPDATE authorizations SET kind = 'reward', reward_id = 'mug'",
    ),
    (HELD, "UPDATE lots SET is_pending = false, available_at = now() WHERE origin_id = 'held'"),
    (HELD, "DELETE FROM order_events WHERE kind = 'fulfilled' AND order_id = 'parcels'"),
    (HELD, "UPDATE lots SET points_remaining = points_remaining + 1 WHERE origin_id = 'parcels' AND is_pending"),
    (HELD, EARLIER_OR_LATER.format(1)),
    (HELD, EARLIER_OR_LATER.format(-1)),
    ("an order was judged by a version of its time", "UPDATE orders SET program_version = 7"),
    (
        "an order was judged by a version of its time",
        "UPDATE orders SET program_version = 2 WHERE program_id = 'later'",
    ),
    (VERSIONS, "UPDATE programs SET effective_from = '2100-01-01' WHERE program_id = 'later' AND version = 2"),
    (VERSIONS, "UPDATE programs SET effective_from = '2020-01-01' WHERE program_id = 'test'"),
    (VERSIONS, CHANGE.format(1, 1, "'2100-01-01'")),
    (VERSIONS, CHANGE.format(2, 1, "'2100-01-01'")),
    (VERSIONS, "UPDATE program_changes SET changed_at = '2098-02-01'"),
    (SUMS, "UPDATE accounts SET balance = balance + 1 WHERE customer_id = 'c1'"),
    (SUMS, "UPDATE entries SET points = points + 1 WHERE sequence = 1"),
    (SUMS, "UPDATE accounts SET pending = pending + 1 WHERE customer_id = 'h1'"),
    (SUMS, "UPDATE entries SET pending_change = 1 WHERE sequence = 1 AND kind = 'accrual'"),
    (SUMS, "UPDATE accounts SET reserved = 1 WHERE customer_id = 'c1'"),
    (SUMS, "UPDATE accounts SET deficit = deficit + 1 WHERE customer_id = 'c2'"),
    (SUMS, "UPDATE entries SET deficit_change = 1 WHERE sequence = 1"),
    ("balance and pending are the lots less the deficit", "UPDATE accounts SET pending = 5 WHERE customer_id = 'c1'"),
    (
        "balance and pending are the lots less the deficit",
        "UPDATE lots SET points_remaining = points_remaining - 1 WHERE points_remaining > 0",
    ),
    ("balance and pending are the lots less the deficit", "UPDATE lots SET is_pending = true"),
    ("an entry is the sum of its allocations", "UPDATE allocations SET points = points + 1 WHERE sequence = 1"),
    ("an entry is the sum of its allocations", "DELETE FROM allocations WHERE points < 0"),
    (
        "an entry is the sum of its allocations",
        "UPDATE entries SET pending_change = pending_change - 1 WHERE kind = 'clawback' AND pending_change < 0",
    ),
    ("a lot holds what its allocations left", "UPDATE lots SET points_granted = points_granted + 1"),
    ("a lot holds what its allocations left", "UPDATE lots SET points_expired = 0"),
    ("a lot holds what its allocations left", "UPDATE allocations SET kind = 'taken' WHERE kind = 'expired'"),
    ("a lot holds what its allocations left", "UPDATE allocations SET kind = 'returned' WHERE kind = 'opened'"),
    (
        "entries are numbered without gaps and their balances chain",
        "UPDATE entries SET balance_after = balance_after + 1 WHERE sequence = 1",
    ),
    (
        "entries are numbered without gaps and their balances chain",
        "UPDATE entries SET pending_after = pending_after + 1 WHERE kind = 'release'",
    ),
    (
        "entries are numbered without gaps and their balances chain",
        "UPDATE entries SET reserved_after = 1 WHERE kind = 'release'",
    ),
    (
        "entries are numbered without gaps and their balances chain",
        "UPDATE entries SET lifetime_points_after = 0 WHERE kind = 'expiry'",
    ),
    (
        "entries are numbered without gaps and their balances chain",
        "WITH gone AS (DELETE FROM allocations WHERE points = -70) DELETE FROM entries WHERE kind = 'expiry'",
    ),
    (
        "an order's entries are its entitlement, what expired and what was not taken",
        "UPDATE orders SET points_entitled = points_entitled + 1 WHERE order_id = 'o1'",
    ),
    (
        "an order's entries are its entitlement, what expired and what was not taken",
        "UPDATE orders SET points_excused = 0 WHERE points_excused > 0",
    ),
    (
        "credits open lots, and debits take from earlier ones",
        "UPDATE entries SET kind = 'clawback' WHERE kind = 'expiry'",
    ),
    (
        "credits open lots, and debits take from earlier ones",
        "UPDATE allocations SET kind = 'expired' WHERE kind = 'taken'",
    ),
    (
        "credits open lots, and debits take from earlier ones",
        "UPDATE allocations SET kind = 'returned' WHERE kind = 'opened'",
    ),
    (
        "credits open lots, and debits take from earlier ones",
        f"UPDATE allocations SET lot_number = 1 WHERE lot_number = 2 AND account_id <> {PARCELS_ACCOUNT}",
    ),
    ("credits open lots, and debits take from earlier ones", "UPDATE entries SET deficit_change = 1 WHERE points > 0"),
    (
        "credits open lots, and debits take from earlier ones",
        "UPDATE entries SET deficit_change = -deficit_change WHERE kind = 'adjustment'",
    ),
    (
        "credits open lots, and debits take from earlier ones",
        "UPDATE entries SET kind = 'adjustment' WHERE kind = 'expiry'",
    ),
    (
        "a lot is what its entry opened",
        "UPDATE lots SET opened_by_sequence = 3 WHERE points_granted = 620",
    ),
    ("a lot is what its entry opened", "UPDATE lots SET available_at = available_at - interval '1 day'"),
    ("a lot is what its entry opened", "UPDATE lots SET available_at = available_at + interval '1 second'"),
    ("a lot is what its entry opened", "UPDATE lots SET expires_at = available_at WHERE expires_with IS NULL"),
    (
        "a lot is what its entry opened",
        "UPDATE lots SET is_pending = true WHERE points_granted = 620",
    ),
    (
        "a lot is what its entry opened",
        "UPDATE lots SET available_at = now() - interval '1 hour' WHERE available_at IS NULL",
    ),
    ("a lot is what its entry opened", "UPDATE orders SET fulfilled_at = now() WHERE order_id = 'held'"),
    (
        "a lot is what its entry opened",
        """UPDATE lots SET available_at = available_at - interval '1 second'
           WHERE account_id IN (SELECT account_id FROM accounts WHERE program_id = 'later')""",
    ),
    (
        "a lot is what its entry opened",
        """UPDATE lots SET is_pending = true
           WHERE account_id IN (SELECT account_id FROM accounts WHERE program_id = 'later')""",
    ),
    (
        "a lot is what its entry opened",
        """INSERT INTO lots SELECT account_id, 9, account_shard, 1, origin_kind, origin_source, origin_id, origin_at,
                                   5, 0, 0, now() FROM lots WHERE lot_number = 1""",
    ),
    (
        "a lot's origin is what its entry is about",
        "UPDATE lots SET origin_source = '/elsewhere'",
    ),
    (
        "a lot's origin is what its entry is about",
        "UPDATE lots SET origin_id = 'o2' WHERE lot_number = 1",
    ),
    ("a lot's origin is what its entry is about", "UPDATE lots SET origin_at = now()"),
    ("refunds and the like are of their order's account", f"UPDATE refunds SET account_id = {YEARLY_ACCOUNT}"),
    ("refunds and the like are of their order's account", f"UPDATE order_events SET account_id = {YEARLY_ACCOUNT}"),
    ("refunds and the like of no account are of guests' orders", "UPDATE refunds SET account_id = NULL"),
    ("refunds and the like of no account are of guests' orders", "UPDATE order_events SET account_id = NULL"),
    ("an account counts its entries and its lots", "UPDATE accounts SET sequence = sequence + 1"),
    ("an account counts its entries and its lots", "UPDATE accounts SET lots_opened = lots_opened - 1"),
    (
        "an account counts its entries and its lots",
        """WITH gone AS (DELETE FROM allocations n USING accounts a WHERE n.account_id = a.account_id AND points < 0
                         AND a.customer_id NOT IN ('h3', 'twice', 'once')
                         AND n.sequence = a.sequence RETURNING n.account_id, n.sequence)
           DELETE FROM entries e USING gone WHERE e.account_id = gone.account_id AND e.sequence = gone.sequence""",
    ),
    (
        "an order's points are its accrual less its refunds",
        "UPDATE orders SET points_shortfall = 1 WHERE order_id = 'o2'",
    ),
    (
        "an order's points are its accrual less its refunds",
        "UPDATE refunds SET points_due = points_due + 1, points_taken = points_taken + 1 WHERE points_taken > 0",
    ),
    ("an order's points are its accrual less its refunds", "UPDATE orders SET points_excused = 0"),
    (
        "an order's points are its accrual less its refunds",
        "UPDATE order_events SET points_due = points_due + 1, points_taken = points_taken + 1 WHERE kind = 'cancelled'",
    ),
    (
        "an accrual is its order's, and a clawback is its refund's",
        "UPDATE orders SET sequence = 7 WHERE order_id = 'o2'",
    ),
    (
        "an accrual is its order's, and a clawback is its refund's",
        "UPDATE orders SET order_id = 'x' WHERE order_id = 'o2'",
    ),
    (
        "an accrual is its order's, and a clawback is its refund's",
        "UPDATE refunds SET refund_id = 'r9' WHERE refund_id = 'r1'",
    ),
    ("an accrual is its order's, and a clawback is its refund's", "UPDATE entries SET corrects_sequence = NULL"),
    *(
        (
            "an accrual is its order's, and a clawback is its refund's",
            f"UPDATE entries SET occurred_at = now() WHERE kind = '{kind}'",
        )
        for kind in ("accrual", "clawback")
    ),
    (
        "an accrual is its order's, and a clawback is its refund's",
        "DELETE FROM order_events WHERE kind = 'cancelled'",
    ),
    (
        "an accrual is its order's, and a clawback is its refund's",
        "UPDATE entries SET refund_id = 'r1' WHERE order_id = 'called-off' AND kind = 'clawback'",
    ),
    ("a return's clawback is the one that it names", "UPDATE returns SET return_id = 'x'"),
    ("a return's clawback is the one that it names", "UPDATE entries SET return_id = NULL"),
    ("a return's clawback is the one that it names", "UPDATE entries SET order_id = NULL WHERE kind = 'clawback'"),
    (
        "a return's points are what its program gives for its goods",
        "UPDATE returns SET points_due = points_due + 1, points_taken = points_taken + 1",
    ),
    ("a return's points are what its program gives for its goods", "UPDATE returns SET tier_id = 'none'"),
    ("a return's points are what its program gives for its goods", "UPDATE returns SET program_version = 9"),
    ("orders, refunds and the like are what their hashes are of", "UPDATE returns SET customer_id = 'x'"),
    ("a posted message is of the time and the source of what it reported", "UPDATE returns SET occurred_at = now()"),
    ("an accepted command's entries are those of its answer", "UPDATE entries SET points = 6 WHERE kind = 'credit'"),
    (
        "an entry of a command is told of in the command's answer",
        "UPDATE entries SET command_id = 'x' WHERE kind = 'credit'",
    ),
    ("every command's answer has its event", "DELETE FROM outbox WHERE type = 'loyalty.command.accepted'"),
    ("every command's answer has its event", "UPDATE inbox SET state = 'rejected', reason = 'x' WHERE event_id = 'k1'"),
    (
        "a lot's origin is what its entry is about",
        "UPDATE lots SET origin_kind = 'order' WHERE origin_id = 'k1'",
    ),
    ("lifetime points are accruals less clawbacks", "UPDATE accounts SET lifetime_points = lifetime_points - 1"),
    (
        "qualifying points are what the orders of their period earn",
        "UPDATE accounts SET qualifying_points = qualifying_points + 1 WHERE program_id = 'test'",
    ),
    (
        "qualifying points are what the orders of their period earn",
        "UPDATE accounts SET qualifying_points = qualifying_points + 1 WHERE program_id = 'yearly'",
    ),
    (
        "qualifying points are what the orders of their period earn",
        "UPDATE accounts SET qualifying_from = qualifying_from + interval '1 hour' WHERE program_id = 'yearly'",
    ),
    (
        "qualifying points are what the orders of their period earn",
        "UPDATE accounts SET qualifying_from = NULL WHERE program_id = 'yearly'",
    ),
    ("tier changes are numbered and follow each other", "UPDATE tier_changes SET change_number = change_number + 7"),
    ("tier changes are numbered and follow each other", "UPDATE tier_changes SET tier_id = previous_tier_id"),
    (
        "tier changes are numbered and follow each other",
        "UPDATE tier_changes SET effective_at = '2999-01-01Z' WHERE change_number = 1",
    ),
    (
        "tier changes are numbered and follow each other",
        "UPDATE tier_changes SET previous_tier_id = 'gold' WHERE change_number = 2",
    ),
    ("an account's tier is that of its last change", "UPDATE accounts SET tier_id = 'gold' WHERE tier_changes = 1"),
    ("an account's tier is that of its last change", "UPDATE accounts SET tier_id = 'gold' WHERE tier_changes = 0"),
    ("an account's tier is that of its last change", "UPDATE accounts SET tier_since = now()"),
    ("an account's tier is that of its last change", "DELETE FROM tier_changes"),
    (
        "an account's tier is that of its last change",
        "UPDATE accounts SET tier_until = now() WHERE program_id = 'test'",
    ),
    ("a posted message is in the ledger, once", "UPDATE inbox SET state = 'posted' WHERE state = 'replayed'"),
    ("a posted message is in the ledger, once", "UPDATE orders SET inbox_id = 1"),
    ("a posted message is in the ledger, once", "DELETE FROM order_events WHERE kind = 'fulfilled'"),
    ("a posted message is in the ledger, once", "UPDATE inbox SET state = 'replayed' WHERE state = 'posted'"),
    ("a posted message is in the ledger, once", "DELETE FROM inbox WHERE event_id = 'completed-o1'"),
    (
        "every entry has its event, and an account's events are in order",
        "DELETE FROM outbox WHERE type = 'loyalty.balance.changed'",
    ),
    (
        "every entry has its event, and an account's events are in order",
        "UPDATE outbox SET outbox_id = 1000 - outbox_id",
    ),
    (
        "events are numbered without gaps to the last, which is never purged",
        "INSERT INTO relay_positions SELECT 0, next_number FROM numbers WHERE name = 'outbox'",
    ),
    (
        "no event tells of an entry that is not there",
        "UPDATE outbox SET event_key = event_key || '9' WHERE type = 'loyalty.balance.changed'",
    ),
    (
        "every account and every tier change has its event",
        "DELETE FROM outbox WHERE type = 'loyalty.account.created'",
    ),
    (
        "every account and every tier change has its event",
        "DELETE FROM outbox WHERE type = 'loyalty.tier.changed'",
    ),
    ("an account, its lots and its events are on one shard", "UPDATE lots SET account_shard = 9 WHERE lot_number = 2"),
    (
        "an account, its lots and its events are on one shard",
        "UPDATE outbox SET account_shard = 9 WHERE type = 'loyalty.tier.changed'",
    ),
    ("no expired lot was taken from", "UPDATE lots SET expires_at = '2026-01-01T00:00:00Z' WHERE expires_with IS NULL"),
    ("an expiry took what was due at its instant", "UPDATE lots SET expires_at = expires_at + interval '1 day'"),
    ("an expiry took what was due at its instant", "UPDATE lots SET expires_at = NULL"),
    (
        "what refunds excused as expired has ended",
        "UPDATE lots SET points_excused = 1, expires_at = '2999-01-01' WHERE expires_with IS NULL",
    ),
    ("what refunds excused as expired has ended", "UPDATE lots SET points_excused = points_granted"),
    (SHARED, SHARE.format("'other'", "false", WITH_FIRST)),
    (SHARED, SHARE.format("''", "true", WITH_FIRST)),
    (
        "members and orders are of their account's program",
        "UPDATE members SET program_id = 'x' WHERE customer_id = 'c2'",
    ),
    ("members and orders are of their account's program", "UPDATE orders SET program_id = 'x' WHERE order_id = 'o2'"),
    *(
        ("orders, refunds and the like are what their hashes are of", f"UPDATE {change}")
        for change in (
            """orders SET lines = replace(lines::text, '"40"', '"400"')::json WHERE order_id = 'o2'""",
            "orders SET business_hash = sha256('o2')",
            "orders SET customer_id = 'c2' WHERE order_id = 'o2'",
            "orders SET currency = 'USD'",
            "orders SET points_paid = 1",
            """orders SET attributes = '{"channel":"app"}'""",
            """orders SET customer_tags = '["staff"]'""",
            "refunds SET net = net + 1",
            "order_events SET business_hash = ''",
        )
    ),
    (
        "guests' orders and what is reported of them are what their hashes are of",
        "UPDATE orders SET customer_id = 'c2' WHERE order_id = 'guest'",
    ),
    *(
        ("an order's points are what its program gives for it", f"UPDATE {change}")
        for change in (
            """orders SET lines = replace(lines::text, '"40"', '"400"')::json WHERE order_id = 'o2'""",
            "orders SET lines = '[7]'",
            "orders SET program_version = 2",
            "orders SET tier_id = 'gold' WHERE order_id = 'o2'",
            "orders SET tier_id = 'lead' WHERE order_id = 'o2'",
            "orders SET qualifying_points = qualifying_points + 1 WHERE order_id = 'yearly'",
            "orders SET qualifying_spend = 0 WHERE order_id = 'yearly'",
            "orders SET qualifying_orders = 0 WHERE order_id = 'yearly'",
            "orders SET is_counted = NOT is_counted WHERE order_id = 'yearly'",
            "refunds SET net = net + 1",
            "refunds SET points_due = points_due + 1, points_taken = points_taken + 1 WHERE refund_id = 'r1'",
        )
    ),
    *(
        ("an order is fulfilled and cancelled when its messages say so", f"UPDATE {change}")
        for change in (
            "orders SET cancelled_at = now() WHERE order_id = 'o2'",
            "orders SET fulfilled_at = NULL",
            "order_events SET occurred_at = now()",
        )
    ),
    *(
        ("a lot's dates are what its order and what moved it give", f"UPDATE {change}")
        for change in (
            "lots SET expires_at = '2099-01-01' WHERE origin_id = 'o2'",
            "lots SET expires_at = expires_at - interval '1 day' WHERE origin_id = 'o2'",
            "lots SET expires_at = NULL",
            "lots SET available_at = available_at - interval '1 second' WHERE origin_id = 'sent'",
            "lots SET earned_by = 'nothing'",
            "orders SET occurred_at = now() WHERE order_id = 'late'",
        )
    ),
    (
        "a shared expiry is kept while an order that keeps something, or a command, has points with it",
        "UPDATE shared_expiries SET is_kept = NOT is_kept",
    ),
    (
        "points last as long as a person has let them",
        "UPDATE shared_expiries SET extended_to = expires_at, expires_at = now() + interval '1 day', is_over = false",
    ),
    (
        "what refunds excused of lots is what they excused of their orders",
        "UPDATE lots SET points_excused = 0 WHERE points_excused > 0",
    ),
    ("an account counts its orders", "UPDATE accounts SET orders_posted = orders_posted + 1"),
    ("an account counts its orders", "UPDATE accounts SET orders_counted = orders_counted + 1"),
    ("an account counts its orders", "UPDATE accounts SET enrolled_at = enrolled_at - interval '1 year'"),
    ("an account counts its orders", "UPDATE accounts SET enrolled_at = NULL WHERE NOT is_enrolment_given"),
    *(
        ("a tier ends with a period, or as a person held it", f"UPDATE accounts SET {change}")
        for change in (
            "tier_until = tier_until + interval '1 day'",
            "tier_until = '2098-12-31T23:00:00Z'",
            "tier_held_until = '2099-01-01'",
        )
    ),
    (
        "a posted message is of the time and the source of what it reported",
        "UPDATE inbox SET occurred_at = occurred_at - interval '1 day'",
    ),
    ("a posted message is of the time and the source of what it reported", "UPDATE inbox SET source = '/elsewhere'"),
    ("a posted message is of the time and the source of what it reported", "UPDATE inbox SET subject = 'order none'"),
    (
        "what is still to be posted is what came",
        "UPDATE inbox SET settled = replace(settled, 'r2', 'r9')",
    ),
    ("what is still to be posted is what came", "UPDATE inbox SET occurred_at = now() WHERE state = 'waiting'"),
    ("what is still to be posted is what came", "UPDATE inbox SET content_hash = NULL"),
    ("events are numbered without gaps to the last, which is never purged", "DELETE FROM outbox WHERE outbox_id = 5"),
    ("events are numbered without gaps to the last, which is never purged", "DELETE FROM outbox"),
    (
        "events are numbered without gaps to the last, which is never purged",
        "DELETE FROM outbox WHERE outbox_id = (SELECT max(outbox_id) FROM outbox)",
    ),
    (
        "events are numbered without gaps to the last, which is never purged",
        "UPDATE numbers SET next_number = 1 WHERE name = 'inbox'",
    ),
    (
        "what retention may have purged is of the past",
        "UPDATE retention SET purged_before = now() + interval '1 second'",
    ),
    (
        "a program's balances are what it issued, less what was taken back or expired",
        "UPDATE accounts SET balance = balance + 1 WHERE customer_id = 'c1'",
    ),
]

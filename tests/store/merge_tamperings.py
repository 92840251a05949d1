"""Ways to break what the ledger of test_verify.py holds of accounts that were merged."""

INTO = "an account is merged into the one that its last merge says, and nothing comes to it since"
BOTH = "what a merge takes from one account it gives to the other"
LOT = "a lot that a merge moved is the one that it was"
ORDER = "an order that a merge moved left one account and came to the other as it was"
ANOTHER = "(SELECT account_id FROM accounts WHERE customer_id = 'c7')"
SURVIVING = "account_id = (SELECT account_id FROM accounts WHERE customer_id = 'once')"
MOVED = "kind = 'moved_in'"

TAMPERED_MERGES = [
    (INTO, "UPDATE accounts SET merged_into = NULL"),
    (INTO, f"UPDATE accounts SET merged_into = {ANOTHER} WHERE customer_id = 'twice'"),
    (INTO, "UPDATE accounts SET sequence = sequence + 1 WHERE merged_into IS NOT NULL"),
    (BOTH, "UPDATE entries SET points = points + 1 WHERE kind = 'merge' AND points > 0"),
    (BOTH, "UPDATE entries SET kind = 'transfer' WHERE kind = 'merge' AND points > 0"),
    (BOTH, "DELETE FROM lot_moves; DELETE FROM merges WHERE role = 'survivor'"),
    (BOTH, "UPDATE merges SET role = 'parted' WHERE role = 'merged'"),
    (BOTH, "UPDATE merges SET lifetime_points = lifetime_points + 1 WHERE role = 'survivor'"),
    (BOTH, "UPDATE merges SET command_id = 'another' WHERE role = 'survivor'"),
    (LOT, "DELETE FROM lot_moves m USING merges s WHERE role = 'merged' AND m.account_id = s.account_id"),
    (LOT, "UPDATE lot_moves SET points_expired = points_expired + 1 WHERE points_granted > 0"),
    (LOT, f"UPDATE lots SET earned_by = 'x' WHERE {SURVIVING}"),
    (LOT, f"UPDATE lots SET expires_at = '2999-01-01' WHERE {SURVIVING}"),
    (ORDER, f"DELETE FROM order_events WHERE {MOVED}"),
    (ORDER, f"UPDATE order_events SET points_due = points_due + 1, points_taken = points_taken + 1 WHERE {MOVED}"),
    (ORDER, f"UPDATE order_events SET sequence = 1 WHERE {MOVED}"),
]

"""Ways to break what the ledger of test_verify.py holds of points that were moved and of commands that were undone."""

MOVED = "a lot that was moved is like the one that its points came from"
UNDONE = "a reversal undoes what its command did, and no more"
GIVEN = "(SELECT account_id FROM accounts WHERE customer_id = 'c7')"

TAMPERED_MOVES = [
    (MOVED, "UPDATE lots SET earned_by = 'x' WHERE account_id = " + GIVEN),
    (MOVED, "UPDATE lots SET expires_at = '2999-01-01' WHERE account_id = " + GIVEN),
    (MOVED, "UPDATE lots SET origin_id = 'x' WHERE account_id = " + GIVEN),
    (UNDONE, "UPDATE entries SET points = -21 WHERE kind = 'reversal'"),
    (UNDONE, "UPDATE entries SET corrects_sequence = NULL WHERE kind = 'reversal'"),
    (UNDONE, "UPDATE entries SET kind = 'reversal', corrects_sequence = 1 WHERE kind = 'credit' AND points = 20"),
    (
        "what a transfer takes from one account it gives to another",
        "UPDATE entries SET points = points - 1 WHERE kind = 'transfer' AND points > 0",
    ),
    (
        "what a transfer takes from one account it gives to another",
        "UPDATE entries SET kind = 'credit' WHERE kind = 'transfer' AND points > 0",
    ),
    (
        "a conversion gives what its points come to at the rate of its version",
        "UPDATE programs SET document = jsonb_set(document, '{conversions,0,gives}', '3') WHERE program_id = 'gives'",
    ),
    (
        "a conversion is undone on both sides, as a whole",
        "UPDATE entries SET points = points - 1 WHERE kind = 'reversal' AND command_id = 'k13' AND points < 0",
    ),
    (
        "a conversion takes points in one program and gives points in another",
        "UPDATE entries SET kind = 'conversion' WHERE kind = 'transfer' AND points > 0",
    ),
]

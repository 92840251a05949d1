"""Ways to break what test_verify.py has of accounts beside their points: as in `tests.store.tamperings`."""

BY_COMMAND = "an account is frozen or closed by a command"
PRIMARY = "a customer's orders come to one of the customer's accounts"
MEMBERS = "an account's members are those that a command said last"
MADE = "an account that a command made is as its answer says"

TAMPERED_ACCOUNTS = [
    (BY_COMMAND, "UPDATE accounts SET status = 'closed' WHERE customer_id = 'c1'"),
    (BY_COMMAND, "UPDATE accounts SET status = 'frozen' WHERE customer_id = 'c1'"),
    (BY_COMMAND, "UPDATE accounts SET status = 'active' WHERE customer_id = 'own'"),
    (PRIMARY, "DELETE FROM members WHERE customer_id = 'own'"),
    (PRIMARY, "UPDATE members SET customer_id = 'c9' WHERE customer_id = 'c1'"),
    (PRIMARY, "UPDATE members SET account_id = (SELECT account_id FROM accounts LIMIT 1) WHERE customer_id = 'own'"),
    (PRIMARY, "DELETE FROM account_members WHERE customer_id = 'home'"),
    (MEMBERS, "DELETE FROM account_members WHERE customer_id = 'home'"),
    (MEMBERS, "UPDATE account_members SET role = 'member'"),
    (MEMBERS, "INSERT INTO account_members SELECT account_id, 'c9', 'viewer' FROM accounts WHERE customer_id = 'c1'"),
    (MADE, "UPDATE accounts SET own_account_id = 'a2' WHERE own_account_id = 'a1'"),
    (MADE, "UPDATE accounts SET own_account_id = 'a2' WHERE customer_id = 'c2'"),
    (MADE, "DELETE FROM account_references"),
    (MADE, "UPDATE accounts SET enrolled_at = enrolled_at - interval '1 day' WHERE is_enrolment_given"),
    (MADE, "UPDATE accounts SET is_enrolment_given = false"),
    (
        MADE,
        "UPDATE accounts SET lifetime_points_given = 1, lifetime_points = lifetime_points + 1 WHERE customer_id = 'c2'",
    ),
]

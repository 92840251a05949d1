"""Ways to break what authorizations hold in the ledger of test_verify.py."""

from tests.store.tamperings import YEARLY_ACCOUNT

OF_A_VOID = """(account_id, opened_by_sequence) IN (SELECT account_id, sequence FROM entries WHERE kind = 'void')"""

TAMPERED_AUTHORIZATIONS = [
    ("what an account has reserved is what its authorizations hold", "UPDATE accounts SET reserved = reserved + 1"),
    (
        "what an account has reserved is what its authorizations hold",
        "DELETE FROM authorizations WHERE state = 'open'",
    ),
    (
        "an authorization's points are those of its entries",
        "UPDATE authorizations SET points_authorized = points_authorized + 1 WHERE state = 'open'",
    ),
    ("an authorization's points are those of its entries", "UPDATE authorizations SET command_id = 'k1'"),
    ("an authorization's points are those of its entries", "UPDATE authorizations SET sequence = 1"),
    (
        "an authorization's points are those of its entries",
        "UPDATE entries SET corrects_sequence = 1 WHERE kind = 'capture'",
    ),
    ("an authorization's points are those of its entries", "DELETE FROM authorizations WHERE state = 'open'"),
    (
        "an authorization is found by its id, and is as its command's answer says",
        "UPDATE authorizations SET expires_at = expires_at + interval '1 day'",
    ),
    (
        "an authorization is found by its id, and is as its command's answer says",
        "UPDATE authorizations SET authorization_id = authorization_id || 'x'",
    ),
    (
        "an authorization is found by its id, and is as its command's answer says",
        f"UPDATE account_references SET account_id = {YEARLY_ACCOUNT} WHERE kind = 'authorization'",
    ),
    (
        "a lot that points came back to instead of theirs has their origin, and a grace",
        f"UPDATE lots SET origin_id = 'h1' WHERE {OF_A_VOID}",
    ),
    (
        "a lot that points came back to instead of theirs has their origin, and a grace",
        f"UPDATE lots SET expires_at = expires_at + interval '1 day' WHERE {OF_A_VOID}",
    ),
]

"""Ways to break what the ledger of test_verify.py holds of points that paid orders."""

REPAID = "points that paid an order came back in the share of it that is given back"
BACK = "what came back of points that paid an order is in entries, and never more than they were"

TAMPERED_PAYMENTS = [
    (REPAID, "UPDATE order_payments SET share = '1/2'"),
    (REPAID, "UPDATE order_payments SET points_due = 3"),
    (REPAID, "UPDATE order_payments SET payment_id = 'h9'"),
    (REPAID, "DELETE FROM order_payments"),
    (REPAID, "UPDATE orders SET points_command_id = NULL WHERE order_id = 'paid'"),
    (REPAID, "UPDATE orders SET program_version = 99 WHERE order_id = 'paid'"),
    (REPAID, "UPDATE refunds SET net = 60 WHERE refund_id = 'r77'"),
    (REPAID, "UPDATE entries SET points = -9 WHERE kind = 'redemption'"),
    (BACK, "UPDATE order_payments SET points_excused = 1"),
    (BACK, "UPDATE order_payments SET order_source = NULL, order_id = NULL, program_id = NULL"),
    (BACK, "UPDATE entries SET points = points + 1 WHERE kind = 'repayment'"),
    (BACK, "UPDATE entries SET points = 9 WHERE kind = 'repayment'"),
    (BACK, "DELETE FROM order_payments"),
    (BACK, "UPDATE entries SET corrects_sequence = 1 WHERE kind = 'repayment'"),
]

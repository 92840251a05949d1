"""What a message is about, in one text: its kind, a blank, its id, such as `order 5001`."""

ORDER = "order"
REFUND = "refund"
RETURN = "return"
CUSTOMER = "customer"
ACCOUNT = "account"
COMMAND = "command"
AUTHORIZATION = "authorization"
REWARD = "reward"


def order_subject(order_id: str) -> str:
    """The subject of every message about this order, and of the order itself."""
    return f"{ORDER} {order_id}"


def refund_subject(refund_id: str) -> str:
    """The subject of a message that is about a refund, and waits for it."""
    return f"{REFUND} {refund_id}"


def return_subject(return_id: str) -> str:
    """The subject of a return without a receipt, which is about itself."""
    return f"{RETURN} {return_id}"


def customer_subject(customer_id: str) -> str:
    """The subject of a command on a customer's account."""
    return f"{CUSTOMER} {customer_id}"


def account_subject(account_id: str) -> str:
    """The subject of a command on an account that is named itself."""
    return f"{ACCOUNT} {account_id}"


def command_subject(command_id: str) -> str:
    """The subject of a command that undoes another one."""
    return f"{COMMAND} {command_id}"


def authorization_subject(authorization_id: str) -> str:
    """The subject of an authorization, and of every command on it."""
    return f"{AUTHORIZATION} {authorization_id}"


def reward_subject(issue_id: str) -> str:
    """The subject of an issued reward, and of every command on it."""
    return f"{REWARD} {issue_id}"


def linked_subject(kind: str, reference: str) -> str:
    """The subject of a command on the account that a card, say, is linked to."""
    return f"{kind} {reference}"


def subject_id(subject: str) -> str:
    """The id alone, which may hold blanks too."""
    return subject.partition(" ")[2]


def order_id_of(subject: str | None) -> str | None:
    """The id of the order that a message is about; None if it is about something else, or nothing is known."""
    return _id_of(ORDER, subject)


def return_id_of(subject: str | None) -> str | None:
    """The id of the return that a message is; None for another message."""
    return _id_of(RETURN, subject)


def _id_of(wanted: str, subject: str | None) -> str | None:
    kind, _, subject_id = (subject or "").partition(" ")
    return subject_id if kind == wanted else None

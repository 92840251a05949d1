"""Who was erased: recognised by a keyed hash of the id, as late messages are by one of their content.

The secret of these hashes is that of phone numbers and e-mail addresses, LOYALTY_REFERENCE_SALT. It is not in the
database: whoever has that alone cannot try guesses on them.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from hmac import digest
from time import monotonic, time
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Engine

from core.domain.nameless import MARK
from core.errors import UserError
from core.store import tables
from core.store.engine import run_alone, run_bulk
from core.store.rows import Append, Shape, arrays, unnested

_ASKED_AGAIN_SECONDS = 10.0


class ErasedMeanwhileError(Exception):
    """A customer was erased since it was looked at what names one: the transaction has to be done again."""


class ErasureSaltError(UserError):
    """Customers were erased here, and their late messages are recognised by LOYALTY_REFERENCE_SALT, which {problem}.

    Set it for all roles as it was. Nothing is received before: it could bring somebody back.
    """


def name_key(salt: bytes, customer_id: str) -> bytes:
    """The hash by which the id of an erased customer is recognised."""
    return digest(salt, f"erased customer\n{customer_id}".encode(), "sha256")


def content_key(salt: bytes, kind: str, source: str, name: str, content: bytes) -> bytes:
    """The hash by which the content of an erased customer's message is recognised.

    `kind` is message (`name` is its id), command (likewise), or fact, which is the same under whatever id.
    """
    return digest(
        salt, b"\n".join([b"erased content", kind.encode(), source.encode(), name.encode(), content]), "sha256"
    )


def _salt_check(salt: bytes) -> bytes:
    return digest(salt, b"erasures", "sha256")


class NewErasure(NamedTuple):
    """A customer who is erased."""

    token: str
    name_key: bytes
    salt_check: bytes


class ErasedAccount(NamedTuple):
    """An account that was theirs."""

    account_id: UUID
    token: str
    is_closed: bool


_APPEND_ERASURES = Append(Shape(tables.erasures, NewErasure).new())
_APPEND_ACCOUNTS = Append(Shape(tables.erased_accounts, ErasedAccount).new())
_APPEND_CONTENTS = """
INSERT INTO erased_contents (content_key, content_hash) SELECT * FROM unnest(%b::bytea[], %b::bytea[])
ON CONFLICT DO NOTHING
"""


def append_erasure(connection: Connection, token: str, customer_id: str, salt: bytes) -> None:
    """Recognise the customer from now on; fails where they are erased already."""
    _APPEND_ERASURES.run(connection, [NewErasure(token, name_key(salt, customer_id), _salt_check(salt))])


def append_erased_accounts(connection: Connection, accounts: Sequence[ErasedAccount]) -> None:
    """Keep which accounts were theirs, and which of them ended with them."""
    _APPEND_ACCOUNTS.run(connection, accounts)


def append_old_contents(connection: Connection, contents: Mapping[bytes, bytes | None]) -> None:
    """Recognise these messages from now on."""
    if contents:
        run_bulk(connection, _APPEND_CONTENTS, (list(contents), list(contents.values())))


class IntakeState(NamedTuple):
    """What whoever receives messages asks of the database before it reads them."""

    now: datetime  #: the clock that every worker shares
    erasures: int  #: how many customers were erased so far


_INTAKE_STATE = "SELECT now(), erasures FROM numbers WHERE name = 'inbox'"
_COUNT_ERASURE = "UPDATE numbers SET erasures = erasures + 1 WHERE name = 'inbox'"


def intake_state(connection: Connection) -> IntakeState:
    """The time, and how many customers were erased: storing messages tells whether it is still that number."""
    return IntakeState(*run_bulk(connection, _INTAKE_STATE)[0])


def intake_state_alone(engine: Engine) -> IntakeState:
    """The same for who has no transaction."""
    return IntakeState(*run_alone(engine, _INTAKE_STATE)[0])


class RecentIntakeState:
    """The same for who asks before each message: the database is asked every ten seconds, and our clock in between.

    Which is why the number may be old: storing messages tells.
    """

    def __init__(self, engine: Engine) -> None:
        """Asks at first use."""
        self._engine = engine
        self._state: IntakeState | None = None
        self._asked_at, self._wall_clock_ahead = 0.0, 0.0

    def __call__(self) -> IntakeState:
        """The state, as well as it is known."""
        age_seconds = monotonic() - self._asked_at
        # A machine that slept has a monotonic clock that slept too.
        slept_seconds = abs(time() - monotonic() - self._wall_clock_ahead)
        if self._state is None or age_seconds + slept_seconds > _ASKED_AGAIN_SECONDS:
            return self.ask()
        return self._state._replace(now=self._state.now + timedelta(seconds=age_seconds))

    def ask(self) -> IntakeState:
        """The state of now."""
        self._state = intake_state_alone(self._engine)
        self._asked_at, self._wall_clock_ahead = monotonic(), time() - monotonic()
        return self._state


def count_erasure(connection: Connection) -> None:
    """Have intake wait until this transaction ends, and then look for who was erased."""
    run_bulk(connection, _COUNT_ERASURE)


def erasures_known(connection: Connection, salt: bytes | None) -> bytes | None:
    """The secret, where somebody was erased; None where nobody was.

    ErasureSaltError where the secret is another one, or there is none.
    """
    rows = run_bulk(connection, "SELECT salt_check FROM erasures ORDER BY erased_at DESC LIMIT 1")
    if not rows:
        return None
    if salt is None:
        raise ErasureSaltError(problem="is not set")
    if _salt_check(salt) != rows[0][0]:
        raise ErasureSaltError(problem="is another one now")
    return salt


def load_erased(connection: Connection, customer_ids: Collection[str], salt: bytes) -> dict[str, str]:
    """Those of these customers who were erased, with what stands in the place of their ids."""
    keys = {name_key(salt, customer_id): customer_id for customer_id in customer_ids}
    statement = "SELECT name_key, token FROM erasures WHERE name_key = ANY(%b)"
    return {keys[key]: token for key, token in run_bulk(connection, statement, (list(keys),))} if keys else {}


_ORDERS = f"""
SELECT source, order_id FROM {unnested(tables.orders, ("source", "order_id"))} JOIN orders o USING (source, order_id)
WHERE o.customer_id LIKE '{MARK}%%' OR EXISTS (SELECT 1 FROM erased_accounts e WHERE e.account_id = o.account_id)
"""  # noqa: S608  # our own names


def load_orders_of_erased(connection: Connection, orders: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these (source, order_id) that are an erased customer's orders."""
    return {row[:2] for row in run_bulk(connection, _ORDERS, arrays(orders, 2))} if orders else set()


def load_old_contents(connection: Connection, keys: Collection[bytes]) -> dict[bytes, bytes | None]:
    """Those of these keys that are of an erased customer's messages, with the hashes of their rows."""
    statement = "SELECT content_key, content_hash FROM erased_contents WHERE content_key = ANY(%b)"
    return dict(row[:2] for row in run_bulk(connection, statement, (list(keys),))) if keys else {}

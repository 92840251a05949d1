"""Messages of customers who were erased, before they are stored: nothing of what comes late brings anybody back.

The same message as before their erasure is recognised by its content, and is a replay. What else names them is taken
without them: an order is a guest's then, and a command is rejected.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json
from sqlalchemy import Connection

from core.domain.nameless import Names, named_in, nameless_message
from core.domain.subjects import CUSTOMER
from core.domain.value.commands import LINKED
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.reading import ReadEvent, business_hash, command_hash
from core.store.erasing_messages import body_of, content_of
from core.store.erasures import content_key, erasures_known, load_erased, load_old_contents, load_orders_of_erased
from core.store.inbox import InboxMessage

_NOBODY: frozenset[str] = frozenset()


def without_erased(
    connection: Connection, messages: Sequence[InboxMessage], salt: bytes | None
) -> Sequence[InboxMessage]:
    """The messages as they may be stored, for those who were erased by now.

    ErasureSaltError where somebody was erased, and `salt` is not the secret of then.
    """
    salt = erasures_known(connection, salt)
    if salt is None:
        return messages
    keys = [_Keys(*_keys(message, salt)) for message in messages]
    old = load_old_contents(connection, [key for of_one in keys for key in of_one if key is not None])
    are_old = [any(key in old for key in of_one if key is not None) for of_one in keys]
    said = [{} if is_old else _data_of(each) for each, is_old in zip(messages, are_old, strict=True)]
    names = load_erased(connection, _NOBODY.union(*(named_in(data) for data in said)), salt)
    about = [_order_of(message, data) for message, data in zip(messages, said, strict=True)]
    orders = load_orders_of_erased(connection, {each for each in about if each is not None})
    taken = []
    for message, of_one, is_old, data, order in zip(messages, keys, are_old, said, about, strict=True):
        named = names.keys() & named_in(data)
        if is_old:
            taken.append(_as_known(message, of_one, old))
        elif named or order in orders:
            taken.append(_nameless(message, data, {each: names[each] for each in named}))
        else:
            taken.append(message)
    return taken


def nameless_event(connection: Connection, event: ReadEvent, salt: bytes | None) -> ReadEvent:
    """An event that is only tried, without customers who were erased."""
    salt = erasures_known(connection, salt)
    if salt is None:
        return event
    data = from_json(event.settled)
    names = load_erased(connection, named_in(data), salt)
    if not names:
        return event
    return event._replace(settled=to_json(nameless_message(event.type, data, names)).decode())


class _Keys(NamedTuple):
    """By what a message may be recognised."""

    message: bytes | None  #: the very same
    content: bytes | None  #: the same fact under whatever id; the same command


def _keys(message: InboxMessage, salt: bytes) -> Iterator[bytes | None]:
    whole = message.content_hash
    yield None if whole is None else content_key(salt, "message", message.source, message.event_id, whole)
    if message.settled is None or message.type is None:
        yield None
    elif message.is_command:
        asked = command_hash(message.type, message.settled)
        yield content_key(salt, "command", message.source, message.event_id, asked)
    else:
        whose = message.subject_source or message.source
        yield content_key(salt, "fact", whose, "", business_hash(message.settled))


def _as_known(message: InboxMessage, keys: _Keys, old: Mapping[bytes, bytes | None]) -> InboxMessage:
    """A replay, with the hash that the row of its first delivery has, and without all that it says."""
    key = keys.message if keys.message in old or keys.content is None else keys.content
    now = old.get(key) if key is not None else None
    subject = message.subject
    is_named = (subject or "").partition(" ")[0] in {CUSTOMER, *LINKED}
    return message._replace(
        variant=b"" if message.settled is not None else key or message.variant,
        subject=None if is_named else subject,
        content_hash=now or keys.message or key,
        body=b"",
        settled=None,
        reason=None,
        detail=None,
        signature=None,
        tracestate=None,
        shard=None,
        fallback_shard=None,
        named=None,
        is_old=True,
    )


def _data_of(message: InboxMessage) -> Any:
    """What a message says: settled, or as it came, with its envelope; None where that is no JSON."""
    try:
        return from_json(message.body if message.settled is None else message.settled)
    except ValueError:
        return None


def _order_of(message: InboxMessage, data: Any) -> tuple[str, str] | None:
    """The source and id of the order that a message is about, as far as it can be read."""
    if message.settled is None and isinstance(data, Mapping):
        data = data.get("data")
    if not isinstance(data, Mapping) or not isinstance(order_id := data.get("order_id"), str):
        return None
    order_source = data.get("order_source")
    return order_source if isinstance(order_source, str) else message.source, order_id


def _nameless(message: InboxMessage, data: Any, names: Names) -> InboxMessage:
    if message.settled is None or message.type is None or message.occurred_at is None:
        envelope = data if isinstance(data, Mapping) else {}  # an array is refused as a whole
        body = to_json({name: envelope[name] for name in _ENVELOPE if isinstance(envelope.get(name), str)})
        digest = sha256(body).digest()
        return message._replace(body=body, variant=digest, content_hash=digest, signature=None, tracestate=None)
    after = nameless_message(message.type, data, names) if names else data
    settled = to_json(after).decode()
    return message._replace(
        subject=INBOUND[message.type].subject(after),
        content_hash=content_of(message.type, message.occurred_at, settled),
        body=body_of(message, after),
        settled=settled,
        signature=None,
        tracestate=None,
    )


#: What is kept of a message that cannot be read: the rest may say anything.
_ENVELOPE = ("specversion", "id", "source", "type", "time")

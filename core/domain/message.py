"""A message as deciders take it: the fact that it reports, and a digest by which they recognise a repetition."""

from typing import Generic, NamedTuple, TypeVar

F = TypeVar("F")  #: such as Order or Refund


class Message(NamedTuple, Generic[F]):
    """One checked message."""

    fact: F
    program_id: str | None = None  #: the one that the message names, if it names any
    digest: bytes = b""  #: of its content: the same fact, sent again, has the same digest
    event_id: str = ""  #: its own id: with its source it names a command for ever
    names_erased: bool = False  #: a customer that it names was erased

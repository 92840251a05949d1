"""A message as deciders take it: the fact that it reports, and what tells it from another message about the same."""

from typing import Generic, NamedTuple, TypeVar

F = TypeVar("F")  #: such as Order or Refund


class Message(NamedTuple, Generic[F]):
    """One checked message."""

    fact: F
    program_id: str | None = None  #: as the message names it; None: it names none
    digest: bytes = b""  #: of its content: the same fact again has the same one

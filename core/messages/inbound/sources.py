"""Who may send and command, and the signatures that prove it: HMAC-SHA256 over the exact bytes of a broker message.

The signature travels beside the message as `<key_id>=<hexadecimal digits>`. Without keys for a source there is nothing
to prove, and nothing is computed.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from core.domain.outcomes import Reason
from core.domain.value.verbs import Verb

KEY_ID_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"
SECRET_BYTES_MIN = 32
SECRET_BYTES_MAX = 4_096
_SIGNATURE = re.compile(r"([A-Za-z0-9._-]{1,64})=([0-9A-Fa-f]{64})")

REFUSALS = frozenset({Reason.UNKNOWN_SOURCE, Reason.BAD_SIGNATURE})


@dataclass(frozen=True)
class SourceKey:
    """A secret that one source and we share."""

    key_id: str
    secret: bytes = field(repr=False)
    until: datetime | None = None  #: aware; what arrives from then on may not be signed with it


class CommandGrant(NamedTuple):
    """A source may send one kind of command, for so many points at most."""

    points_per_command_max: int | None = None  #: of one command, whichever way they move; None: any number
    points_per_day_max: int | None = None  #: of all commands of this kind from the source on one day, in UTC


class Refusal(NamedTuple):
    """Why an event of this source is not taken from this message."""

    reason: Reason
    detail: str


class Sources:
    """The sources that are listed, each with its keys and commands; one without keys need not sign."""

    def __init__(
        self,
        keys: Mapping[str, Sequence[SourceKey]],
        *,
        parks_unlisted: bool,
        commands: Mapping[str, Mapping[Verb, CommandGrant]] | None = None,
    ) -> None:
        """`parks_unlisted`: only the listed ones may send. `commands`: what each source may command; else nothing."""
        self.keys = dict(keys)
        self.parks_unlisted = parks_unlisted
        self.commands = dict(commands or {})

    def command_grant(self, source: str, verb: Verb) -> CommandGrant | None:
        """What the source may do with commands of this kind; None: it may send none, as one that is not listed."""
        return self.commands.get(source, {}).get(verb)

    def check(self, raw: bytes, signature: str | None, received_at: datetime) -> "SignatureCheck":
        """Look at one broker message. `received_at` (aware) decides which keys have ended."""
        return SignatureCheck(self, raw, signature, received_at)


class SignatureCheck:
    """What one broker message proves, source by source. Costs one HMAC for each secret that it names; mostly one."""

    def __init__(self, sources: Sources, raw: bytes, signature: str | None, received_at: datetime) -> None:
        """See `Sources.check`."""
        self._sources = sources
        self._raw = raw
        self._signature = signature
        self._named = _SIGNATURE.fullmatch(signature) if signature else None
        self._received_at = received_at
        self._proved: dict[bytes, bool] = {}

    def refusal(self, source: str, order_source: str | None = None) -> Refusal | None:
        """Say why an event of `source` about an order of `order_source` is not taken; None when it is.

        Whoever need not sign cannot speak of the orders of one who must.
        """
        keys = self._sources.keys.get(source)
        if not keys and order_source is not None and self._sources.keys.get(order_source):
            text = "the source of data.order_source must sign, and this message's source has no keys"
            return Refusal(Reason.BAD_SIGNATURE, f"{text}; give it one in the file of LOYALTY_SOURCES_FILE")
        if keys is None:
            if not self._sources.parks_unlisted:
                return None
            text = f"source is none of the {len(self._sources.keys)} that may send; correct it, or list it"
            return Refusal(Reason.UNKNOWN_SOURCE, f"{text} in the file of LOYALTY_SOURCES_FILE")
        problem = self._problem(keys) if keys else None
        return None if problem is None else Refusal(Reason.BAD_SIGNATURE, problem)

    def resigned(self, source: str, body: bytes) -> str | None:
        """Sign one event of an array with the key that signed the array, so that it can be checked by itself.

        None when the source has no keys. Only for a source that is not refused.
        """
        keys = self._sources.keys.get(source)
        if not keys or self._named is None:
            return None
        key = _named_key(keys, self._named[1])
        return None if key is None else sign(body, key.key_id, key.secret)

    def _problem(self, keys: Sequence[SourceKey]) -> str | None:
        if not self._signature:
            return (
                "the message is not signed, and its source must sign: send its signature beside it, in the AMQP header "
                "loyalty-signature, the stream field signature, or the argument signature of loyalty.submit"
            )
        if self._named is None:
            return "the signature has not the form <key_id>=<64 hexadecimal digits>"
        key_id, digest = self._named.groups()
        key = _named_key(keys, key_id)
        if key is None:
            # Not the name itself: what a sender puts there may be the secret.
            return f"the signature names a key that its source has not; its keys are {_valid(keys, self._received_at)}"
        if not _is_valid(key, self._received_at):
            return f"the signature is by key {key_id}, which has ended; use {_valid(keys, self._received_at)}"
        if not self._is_proved(key.secret, bytes.fromhex(digest)):
            return (
                f"the signature is not that of key {key_id} over these bytes: sign exactly the bytes that are sent, "
                "with that key's secret"
            )
        return None

    def _is_proved(self, secret: bytes, digest: bytes) -> bool:
        if secret not in self._proved:
            self._proved[secret] = hmac.compare_digest(_digest(self._raw, secret), digest)
        return self._proved[secret]


def sign(raw: bytes, key_id: str, secret: bytes) -> str:
    """Write the signature of `raw` as it travels beside it."""
    return f"{key_id}={_digest(raw, secret).hex()}"


def is_signature(text: str | None) -> bool:
    """Whether `text` has the form of a signature, whatever it is worth."""
    return text is not None and _SIGNATURE.fullmatch(text) is not None


def _digest(raw: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, raw, "sha256")


def _named_key(keys: Sequence[SourceKey], key_id: str) -> SourceKey | None:
    return next((key for key in keys if key.key_id == key_id), None)


def _is_valid(key: SourceKey, at: datetime) -> bool:
    return key.until is None or at < key.until


def _valid(keys: Sequence[SourceKey], at: datetime) -> str:
    return ", ".join(key.key_id for key in keys if _is_valid(key, at)) or "none: all have ended"

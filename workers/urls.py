"""Addresses of servers as people write them: read strictly before any client gets them.

Clients disagree about what a special character in a password means, take the rest of it for the host, and quote that in
their errors. So what is not written as RFC 3986 wants it is refused, and what is said about it quotes nothing of it.
"""

import re
from typing import Final

_PORT_MAX: Final = 65_535

_ENCODED: Final = "%[0-9A-Fa-f]{2}"
_PLAIN: Final = r"[A-Za-z0-9._~!$&'()*+,;=-]"
_USER: Final = re.compile(f"(?:{_PLAIN}|:|{_ENCODED})*")
_PLACE: Final = re.compile(rf"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~-]|{_ENCODED})*)(?P<port>:[^:]*)?")
_PATH_OR_QUERY: Final = re.compile(f"(?:{_PLAIN}|[:/?]|{_ENCODED})*")
_AUTHORITY_END: Final = re.compile("[/?#]|$")
_BROKERS: Final = re.compile(r";(?=\w+://)")


def url_problem(url: str) -> str | None:
    """What is wrong with an address, without a word of it; None if nothing is. Its scheme is not looked at."""
    _, separator, rest = url.partition("://")
    if not separator:
        return "it has no scheme before ://"
    end = _AUTHORITY_END.search(rest)
    assert end is not None
    authority, after = rest[: end.start()], rest[end.start() :]
    user, _, place = authority.rpartition("@")
    found = _PLACE.fullmatch(place)
    if "@" in after or not _USER.fullmatch(user):
        return "it has a special character in its user or password that is not percent-encoded"
    if found is None:
        return "its host cannot be read (several hosts are written ?host=one&host=two)"
    port = (found["port"] or ":")[1:]
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) <= _PORT_MAX):
        return "its port is not a number from 1 to 65535"
    if not _PATH_OR_QUERY.fullmatch(after):
        return "it has a special character after the host that is not percent-encoded"
    return None


def broker_url_problem(url: str) -> str | None:
    """The same of an address that may name several brokers with semicolons between."""
    return next((problem for part in _BROKERS.split(url) if (problem := url_problem(part)) is not None), None)

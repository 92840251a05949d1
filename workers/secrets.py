"""The secrets of the settings, as what needs them takes them."""

from config.settings import Settings


def reference_salt(settings: Settings) -> bytes | None:
    """The secret of the hashes of phone numbers and e-mail addresses; None: there are none."""
    return settings.reference_salt.get_secret_value().strip().encode() if settings.reference_salt else None


def chain_keys(settings: Settings) -> tuple[bytes, ...]:
    """The keys of the entries' hash chain: the first one writes, all of them verify. Empty: no chain is kept."""
    text = settings.chain_key.get_secret_value() if settings.chain_key else ""
    return tuple(key.strip().encode() for key in text.split(",") if key)


def writing_key(settings: Settings) -> bytes | None:
    """The key under which new hashes are made; None: no chain is kept."""
    return next(iter(chain_keys(settings)), None)

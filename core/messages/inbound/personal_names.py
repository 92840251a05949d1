"""Phone numbers and e-mail addresses by which accounts are named: written in one form, and kept as a keyed hash alone.

They are people's own, so nothing behind intake may hold them. There are few enough phone numbers to try all of them, so
the hash needs a secret: without one, what names an account so is refused.
"""

import re
from collections.abc import Callable, Mapping
from hmac import digest
from typing import Annotated, Any
from unicodedata import normalize

import phonenumbers
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberFormat,
    ValidationResult,
)
from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from core.domain.ids import oddity
from core.domain.value.commands import EMAIL, HIDDEN, PHONE
from core.errors import UserError
from core.messages.inbound.fields import OWN_PROBLEM

PHONE_CHARACTERS_MAX = 40
EMAIL_CHARACTERS_MAX = 254
PHONE_ADVICE = 'write it with "+" and the code of its country, such as "+44 7400 123456"'
EMAIL_ADVICE = f'write it as in "ann@example.com", with at most {EMAIL_CHARACTERS_MAX} characters'
#: What needs the secret and does not find it.
NO_SALT = (
    "cannot be read here: only a hash of it is kept, and the secret of these hashes is not set; set "
    "LOYALTY_REFERENCE_SALT, the same for all roles"
)

_PHONE_PATTERN = r"^ *\+[0-9 ()./-]*$"
_PHONE_LIKE = re.compile(_PHONE_PATTERN.replace("$", r"\Z"))
_E164 = re.compile(r"\+[1-9][0-9]{4,14}")
_PLAIN_PHONE = re.compile(r"[0-9 ()./-]*")
_EMAIL_PATTERN = r"^ *[^@\s]+@[^@\s]+ *$"
_EMAIL_LIKE = re.compile(r"""[^@\s"(),:;<>[\\\]]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}""")
_AS_XN = 'has letters behind the "@" that are not of ASCII; write that part as mail servers do, with "xn--"'


def phone_of(text: str) -> str:
    """The number in E.164, such as "+447400123456", however it is grouped; a pydantic error if it is none.

    Only its length is asked of a number, by its country: ranges are opened each week, and a right number must not be
    refused by an older list of them.
    """
    if _is_plain(text):
        return text
    if not _PHONE_LIKE.match(text):
        has_no_plus = _PLAIN_PHONE.fullmatch(text)
        raise _problem(
            f'does not begin with "+"; {PHONE_ADVICE}: without it, it is another number in each country'
            if has_no_plus
            else f"is not a phone number alone; {PHONE_ADVICE}, in digits, blanks, hyphens, dots, slashes and brackets"
        )
    plain = _e164(text)
    # Of a few strange ones the plain form would be read as yet another number.
    if plain is None or (plain != text and _e164(plain) != plain):
        raise _problem(
            f"is not a phone number: its country has none of this length, or no country has its code; {PHONE_ADVICE}"
        )
    return plain


def _is_plain(text: str) -> bool:
    """Whether it is a number in E.164 that parsing would leave as it is, told in a tenth of the time; False: perhaps.

    A storefront asks for accounts by it, and parsing took as long as their read.
    """
    if not _E164.fullmatch(text):
        return False
    digits = text[1:]
    for length in (1, 2, 3):
        regions = COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:length]))
        if regions is not None:
            break
    else:
        return False
    code, national = int(digits[:length]), digits[length:]
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, regions[0])
    if metadata is None or metadata.general_desc is None or national.startswith("0"):
        return False
    prefix = metadata.national_prefix_for_parsing
    if prefix is not None and (found := re.match(prefix, national)) is not None and found.end():
        return False
    lengths = metadata.general_desc.possible_length, metadata.general_desc.possible_length_local_only
    return len(national) in lengths[0] and len(national) not in lengths[1]


def _e164(text: str) -> str | None:
    try:
        number = phonenumbers.parse(text)
    except NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def email_of(text: str) -> str:
    """The address in lower case, without blanks around it; a pydantic error if it is none."""
    plain = normalize("NFC", text.strip(" ").lower())
    if plain.count("@") != 1:
        raise _problem(f'has {"no" if "@" not in plain else "more than one"} "@"; {EMAIL_ADVICE}')
    if not plain.partition("@")[2].isascii():
        raise _problem(_AS_XN)
    if len(plain) > EMAIL_CHARACTERS_MAX or oddity(plain) or not _EMAIL_LIKE.fullmatch(plain):
        raise _problem(f"is not an e-mail address; {EMAIL_ADVICE}")
    return plain


def _problem(text: str) -> PydanticCustomError:
    return PydanticCustomError(OWN_PROBLEM, "{text}", {"text": text})


PhoneNumber = Annotated[
    str,
    StringConstraints(max_length=PHONE_CHARACTERS_MAX),
    AfterValidator(phone_of),
    Field(
        examples=["+44 7400 123456"],
        json_schema_extra={"pattern": _PHONE_PATTERN},
    ),
]
EmailAddress = Annotated[
    str,
    StringConstraints(max_length=EMAIL_CHARACTERS_MAX),
    AfterValidator(email_of),
    Field(
        examples=["ann@example.com"],
        json_schema_extra={"pattern": _EMAIL_PATTERN},
    ),
]

#: What writes the names in one form of which a hash alone is kept, by their kinds, which are fields of messages too.
_PLAIN: Mapping[str, Callable[[str], str]] = {PHONE: phone_of, EMAIL: email_of}


def hide(data: dict[str, Any], salt: bytes | None, *, is_needed: bool = False) -> str | None:
    """Put hashes in the place of names in `data`, which are in their one form. Returns a field that needs a salt.

    Where it `is_needed`, that is the customer's id, of which a hash is kept once they are erased.
    """
    if is_needed and salt is None:
        return "customer_id"
    for kind in _PLAIN:
        if kind in data:
            if salt is None:
                return kind
            data[kind] = _hidden(kind, data[kind], salt)
    return None


def _hidden(kind: str, plain: str, salt: bytes) -> str:
    return digest(salt, f"{kind}:{plain}".encode(), "sha256").hex()


class UnusableNameError(UserError):
    """What is given as {called} {problem}."""


class NoReferenceSaltError(UserError):
    """Of phone numbers and e-mail addresses only hashes are kept: set LOYALTY_REFERENCE_SALT as the workers have it."""


def hidden_name(kind: str, text: str, salt: bytes | None) -> str:
    """What is kept of a name that a person typed: of other kinds itself. UnusableNameError, NoReferenceSaltError."""
    if kind not in HIDDEN:
        return text
    if salt is None:
        raise NoReferenceSaltError
    try:
        return _hidden(kind, _PLAIN[kind](text), salt)
    except PydanticCustomError as error:
        called = {PHONE: "a phone number", EMAIL: "an e-mail address"}[kind]
        raise UnusableNameError(called=called, problem=error.message()) from None

"""Phone numbers and e-mail addresses that name accounts: one form of each, and its hash in the settled data."""

import json
from typing import Any

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inbound_samples import LIMITS, ORDER, changed, read, read_one, refused
from pydantic_core import PydanticCustomError

from core.domain.outcomes import Reason
from core.messages.inbound.contracts import CONTRACTS, INBOUND
from core.messages.inbound.fields import NAMING
from core.messages.inbound.personal_names import (
    NoReferenceSaltError,
    UnusableNameError,
    _e164,
    _is_plain,
    email_of,
    hidden_name,
    phone_of,
)
from core.messages.inbound.reading import ReadEvent

SALT = b"a salt that only this test knows of"
SALTED = LIMITS._replace(reference_salt=SALT)


def named(**by: Any) -> dict[str, Any]:
    """The usual order, by whom it is said here."""
    event = changed(ORDER, "data.customer_id", ...)
    return {**event, "data": {**event["data"], **by}}


def read_by(salt: bytes = SALT, **by: Any) -> ReadEvent:
    [event] = read(named(**by), LIMITS._replace(reference_salt=salt))
    assert isinstance(event, ReadEvent), event
    return event


class TestPhoneNumbers:
    @pytest.mark.parametrize(
        ("written", "plain"),
        [
            ("+447400123456", "+447400123456"),
            ("+44 7400 123456", "+447400123456"),
            (" +44 (0)7400-123456 ", "+447400123456"),
            ("+44.7400.123.456", "+447400123456"),
            ("+1 (212) 555-0100", "+12125550100"),
            ("+49 (0)30 / 12 34 567", "+49301234567"),
            ("+39 06 6982", "+39066982"),  # the 0 belongs to Italian numbers
            ("+33 (0)1 23 45 67 89", "+33123456789"),
            ("+52 55 1234 5678", "+525512345678"),
            ("+54 9 11 2345-6789", "+5491123456789"),
            ("+55 11 96123-4567", "+5511961234567"),
            ("+61 412 345 678", "+61412345678"),
            ("+81 90-1234-5678", "+819012345678"),
            ("+86 131 2345 6789", "+8613123456789"),
            ("+91 81234 56789", "+918123456789"),
            ("+7 912 345-67-89", "+79123456789"),
            ("+358 41 2345678", "+358412345678"),
            ("+598 94 231 234", "+59894231234"),
            ("+800 1234 5678", "+80012345678"),  # of no country, and free of charge in all
        ],
    )
    def test_one_is_the_same_however_it_is_grouped(self, written: str, plain: str) -> None:
        assert phone_of(written) == plain

    @pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
    def test_a_mobile_number_of_every_country_is_taken_in_all_its_forms(self, region: str) -> None:
        number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        if number is None:
            pytest.skip("of this one none is known")
        plain = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        grouped = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        assert (phone_of(plain), phone_of(grouped)) == (plain, plain)

    @pytest.mark.parametrize(
        ("written", "words"),
        [
            ("07400 123456", 'does not begin with "+"'),
            ("0044 7400 123456", 'does not begin with "+"'),
            ("(212) 555-0100", 'does not begin with "+"'),
            ("+44 7400 12", "none of this length"),
            ("+44 7400 123456 789", "none of this length"),
            ("+999 7400 123456", "no country has its code"),
            ("+", "is not a phone number"),
            ("+()", "is not a phone number"),
            ("+44 7400 123456 ext. 5", "is not a phone number alone"),
            ("+44 7400 123456;ext=5", "is not a phone number alone"),
            ("+1 800 FLOWERS", "is not a phone number alone"),
            ("tel:+447400123456", "is not a phone number alone"),
            ("++447400123456", "is not a phone number alone"),
            ("ann@example.com", "is not a phone number alone"),
            ("+44 7400\u00a0123456", "is not a phone number alone"),
            ("+447400123456\n", "is not a phone number alone"),
            ("+٤٤٧٤٠٠١٢٣٤٥٦", "is not a phone number alone"),
        ],
    )
    def test_what_is_none_is_refused_with_what_is_wanted(self, written: str, words: str) -> None:
        detail = refused(named(phone=written), SALTED).detail
        assert detail.startswith("data.phone ")
        assert words in detail
        assert 'with "+" and the code of its country' in detail
        assert written in {"", "+"} or written not in detail.replace("+44 7400 123456", "")

    @given(st.text(alphabet="+0123456789 ()-./", max_size=24).map(lambda text: f"+{text.replace('+', '')}"))
    def test_the_plain_form_stands_for_itself(self, written: str) -> None:
        try:
            plain = phone_of(written)
        except PydanticCustomError:
            return
        assert phone_of(plain) == plain
        assert plain[1:].isascii()
        assert plain[1:].isdigit()


class TestEmailAddresses:
    @pytest.mark.parametrize(
        ("written", "plain"),
        [
            ("ann@example.com", "ann@example.com"),
            ("Ann.Smith@Example.COM", "ann.smith@example.com"),
            ("  ann@example.com ", "ann@example.com"),
            ("o'hara+club@a-b.example.co.uk", "o'hara+club@a-b.example.co.uk"),
            ("ZOË@example.com", "zoë@example.com"),
            ("zoe\u0308@example.com", "zoë@example.com"),
            ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
            (f"{'a' * 64}@example.com", f"{'a' * 64}@example.com"),
        ],
    )
    def test_one_is_the_same_in_whatever_case(self, written: str, plain: str) -> None:
        assert email_of(written) == plain

    @pytest.mark.parametrize(
        ("written", "words"),
        [
            ("ann", 'has no "@"'),
            ("ann@bob@example.com", 'has more than one "@"'),
            ("ann@bücher.example", "not of ASCII"),
            ("ann@localhost", "is not an e-mail address"),
            ("ann smith@example.com", "is not an e-mail address"),
            ("Ann <ann@example.com>", "is not an e-mail address"),
            ("mailto:ann@example.com", "is not an e-mail address"),
            ('"ann"@example.com', "is not an e-mail address"),
            ("ann@example..com", "is not an e-mail address"),
            ("ann@-example.com", "is not an e-mail address"),
            ("ann@example.com.", "is not an e-mail address"),
            ("@example.com", "is not an e-mail address"),
            ("ann@", "is not an e-mail address"),
            ("ann\u200b@example.com", "is not an e-mail address"),
            ("ann@example.com\n", "is not an e-mail address"),
            (f"{'a' * 65}@example.com", "is not an e-mail address"),
            (f"ann@{'a.' * 125}com", "it must be a string"),  # longer than any
            (f"ann@{'a' * 64}.com", "is not an e-mail address"),
        ],
    )
    def test_what_is_none_is_refused_with_what_is_wanted(self, written: str, words: str) -> None:
        detail = refused(named(email=written), SALTED).detail
        assert detail.startswith("data.email ")
        assert words in detail
        assert not written or written not in detail.replace("ann@example.com", "")

    @given(st.emails() | st.from_regex(r"\A *[^@]{1,8}@[a-z]{1,4}\.[a-zA-Z]{2,4} *\Z"))
    def test_the_plain_form_stands_for_itself(self, written: str) -> None:
        try:
            plain = email_of(written)
        except PydanticCustomError:
            return
        assert email_of(plain) == plain
        if written.isascii():
            assert email_of(f" {written.swapcase()} ") == plain


@pytest.mark.parametrize("value", [44740, True, ["+447400123456"], {"number": "+447400123456"}, 1.5])
@pytest.mark.parametrize("kind", ["phone", "email"])
def test_only_a_text_is_either(kind: str, value: Any) -> None:
    assert "it must be a string" in refused(named(**{kind: value}), SALTED).detail


class TestHashes:
    @pytest.mark.parametrize(
        ("kind", "written", "again"),
        [("phone", "+44 7400 123456", "+447400123456"), ("email", "Ann@Example.com", "ann@example.com ")],
    )
    def test_the_settled_data_hold_one_in_the_place_of_the_name_and_two_forms_are_one_event(
        self, kind: str, written: str, again: str
    ) -> None:
        first, second = read_by(**{kind: written}), read_by(**{kind: again})
        told = json.loads(first.settled)[kind]
        assert len(told) == 64
        assert (first.settled, first.content_hash) == (second.settled, second.content_hash)
        everything = repr(first._replace(body=b""))
        assert not any(text in everything for text in (written, again.strip(), "7400", "example.com"))
        assert first.body == json.dumps(named(**{kind: written})).encode()

    def test_they_differ_by_salt_and_by_kind(self) -> None:
        hashes = {hidden_name("phone", "+447400123456", salt) for salt in (SALT, SALT * 2)}
        assert len(hashes) == 2
        assert hidden_name("email", "ann@example.com", SALT) not in hashes
        assert read_by(phone="+447400123456").settled != read_by(SALT * 2, phone="+447400123456").settled

    def test_one_is_what_it_has_always_been(self) -> None:
        """Or nothing is found any more that was linked before."""
        assert hidden_name("phone", "+44 7400 123456", b"k" * 32) == (
            "c75fc1098d3e2da44bba097c3e2ad769d3842c3dc6ad0524d4d4da63fda67714"
        )
        assert hidden_name("email", "Ann@example.com", b"k" * 32) == (
            "04a42a082643a88a2ab29523c1ab0bab21e52ace0d78a484fa29c9f44ccec4cd"
        )

    @pytest.mark.parametrize("by", [{"phone": "+447400123456"}, {"email": "ann@example.com"}])
    def test_without_a_salt_nothing_is_read_that_needs_one(self, by: dict[str, str]) -> None:
        letter = refused(named(**by))
        assert (letter.reason, letter.event_id) == (Reason.NO_REFERENCE_SALT, "evt-1")
        assert "set LOYALTY_REFERENCE_SALT, the same for all roles" in letter.detail
        array = read([named(**by), ORDER])
        assert [isinstance(each, ReadEvent) for each in array] == [False, True]

    def test_what_a_person_types_is_hashed_too_or_refused(self) -> None:
        assert hidden_name("card", "9801-0007", None) == "9801-0007"
        assert (
            hidden_name("phone", " +44 7400 123456", SALT)
            == json.loads(read_by(phone="+447400123456").settled)["phone"]
        )
        with pytest.raises(NoReferenceSaltError, match="are kept: set LOYALTY_REFERENCE_SALT as the workers"):
            hidden_name("phone", "+447400123456", None)
        with pytest.raises(UnusableNameError, match='What is given as an e-mail address has no "@"; write it'):
            hidden_name("email", "ann", SALT)


NULL = {"phone": None, "email": None}


def test_null_says_nothing() -> None:
    assert read_by(customer_id="c-1", **NULL).settled == read_by(customer_id="c-1").settled


def test_beside_a_customer_they_say_nothing() -> None:
    given = {"phone": "+447400123456", "email": "ann@example.com", "card": "9801-0007"}
    assert read_by(customer_id="c-1", **given).settled == read_by(customer_id="c-1").settled


@pytest.mark.parametrize("other", [name for name in NAMING if name not in {"customer_id", "phone"}])
def test_an_account_is_named_in_one_way(other: str) -> None:
    given_as = {"email": "ann@example.com"}.get(other, "9801-0007")
    detail = refused(named(**{other: given_as, "phone": "+447400123456"}), SALTED).detail
    assert "stands beside" in detail
    assert "name the account in one way" in detail


@pytest.mark.parametrize("name", ["Phone", "PHONE", "phones", "e_mail", "eMail", "E-Mail", "emial"])
def test_a_misspelt_one_is_not_ignored(name: str) -> None:
    assert "is not a field here; did you mean" in refused(named(**{name: "+447400123456"}), SALTED).detail


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.type)
def test_what_may_be_named_by_a_card_may_be_named_by_either(contract: Any) -> None:
    known = INBOUND.places[contract.type][("data",)].known
    assert ("card" in known) == ("phone" in known) == ("email" in known)


_DIGITS = st.text("0123456789", min_size=2, max_size=13)


@settings(max_examples=1_000)
@given(code=st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)), national=_DIGITS)
def test_a_number_that_is_plain_already_is_told_at_once_just_as_it_would_be_parsed(code: int, national: str) -> None:
    text = f"+{code}{national}"
    if _is_plain(text):
        assert _e164(text) == text
        assert _e164(_e164(text) or "") == text
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code][:1]:
        mobile = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        if mobile is not None:
            plain = phonenumbers.format_number(mobile, phonenumbers.PhoneNumberFormat.E164)
            assert phone_of(plain) == plain


def test_most_numbers_are_plain_already() -> None:
    assert all(_is_plain(text) for text in ("+4915123456789", "+447400123456", "+12015550123", "+393123456789"))
    assert not any(_is_plain(text) for text in ("+44 7400 123456", "+390612345678", "+4407400123456", "+49", "+999123"))


WRONG = {"phone": "07400 123456", "email": "ann at example.com", "card": "98 01"}


@pytest.mark.parametrize("value", ["", *WRONG.values(), 7, ["+447400123456"]])
@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("event_type", ["order.completed", "order.amended"])
def test_beside_a_customer_it_does_not_matter_how_people_wrote_them(event_type: str, kind: str, value: object) -> None:
    order = changed(ORDER, "type", event_type)
    if event_type == "order.amended":
        order = changed(order, "data.revision", 1)
    assert read_one(changed(order, f"data.{kind}", value)).settled == read_one(order).settled


@pytest.mark.parametrize("kind", WRONG)
def test_without_a_customer_an_empty_one_names_nobody_and_a_wrong_one_is_refused(kind: str) -> None:
    guest = changed(ORDER, "data.customer_id", ...)
    assert read_one(changed(guest, f"data.{kind}", "")).settled == read_one(guest).settled
    parked = refused(changed(guest, f"data.{kind}", WRONG[kind]))
    assert parked.reason is Reason.INVALID_DATA
    assert parked.detail.startswith(f"data.{kind} ")

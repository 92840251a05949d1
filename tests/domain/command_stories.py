"""Commands within the stories of the property tests: what programs ask for between orders, from numbers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from hypothesis import strategies as st

from core.domain.orders.facts import AmendedOrder, Fulfilment, Order, OrderClaim, Return
from tests.domain.agreement import check_agreement, check_holds, check_lots, check_payments
from tests.domain.book import Book, ShopFact
from tests.domain.invariants import check_everything
from tests.domain.naive_commands import NaiveCommands
from tests.domain.naive_payments import Key, NaivePayments, paid_by
from tests.domain.stories import KINDS, SHOP, Step
from tests.domain.story_run import StoryRun
from tests.domain.valid_programs import MONEY, REWARDS, Versions

VALUE = (*["credit"] * 6, "debit", *["redeem"] * 2, *["adjust"] * 2, *["transfer"] * 3, *["convert"] * 3)
HELD = (*["authorize"] * 5, *["capture"] * 4, *["void"] * 2, "void_due", *["reverse"] * 5)
#: Customers who buy nothing, and the commands that they may ask for as members.
STRANGERS = ("m1", "m2")
ACTED = {"credit", "debit", "redeem", "transfer", "authorize", "reward.issue"}
REWARDED = (*["reward.issue"] * 3, "reward.redeem", *["reward.delete"] * 2)
ACCOUNTS = ("create", "freeze", "unfreeze", "unfreeze", "close", "link", "unlink", *["update"] * 3)
MERGES = ("merge", "merge", "unmerge")
_OPENING: list[Step] = [("credit", 48, 0), ("credit", 126, 0)]  #: of the second and the third customer
#: Fewer of the shop's than where nothing is commanded, so that commands meet each other.
_BESIDE = (*["order"] * 4, *["refund"] * 3, *["fulfil"] * 2, *["pass"] * 3, *dict.fromkeys(KINDS))
ALL_KINDS = (*_BESIDE, *VALUE, *HELD, *REWARDED, *ACCOUNTS, *MERGES, "again", "clash")
#: More of them, and less of what stands in the way of a merge.
MERGING_KINDS = (*_BESIDE, *SHOP, *VALUE, *HELD, "reward.issue", *ACCOUNTS, *MERGES * 5, "again", "clash")
_numbers = st.integers(0, 10_000), st.integers(0, 200)
#: Mostly there is an account from the beginning, and something in it.
steps_with_commands = st.tuples(
    st.tuples(st.sampled_from(["credit", "credit", "order", "create"]), *_numbers),
    st.lists(st.tuples(st.sampled_from(ALL_KINDS), *_numbers), min_size=2, max_size=20),
).map(lambda parts: [parts[0], *parts[1]])


#: Each customer has an account from the beginning.
steps_with_merges = st.lists(st.tuples(st.sampled_from(MERGING_KINDS), *_numbers), min_size=3, max_size=22).map(
    lambda story: [*_OPENING, *story]
)


def random_story(random: Random, kinds: Sequence[str], steps_max: int) -> list[Step]:
    """A story by chance alone."""
    first = "credit" if "credit" in kinds else "order"
    return [
        (kind, random.randrange(10_001), random.randrange(201))
        for kind in (first, *random.choices(kinds, k=random.randint(1, steps_max - 1)))
    ]


def random_merging_story(random: Random, steps_max: int) -> list[Step]:
    """A story by chance in which each customer has an account from the beginning."""
    story = random_story(random, MERGING_KINDS, steps_max)
    return [*_OPENING, *story]


def linked_as(number: int) -> dict[str, str]:
    """Something that may be linked to an account: a card, or the hash of a number or an address."""
    return {("card", "phone", "email")[number % 3]: f"name-{number % 2}"}


class Purse(NamedTuple):
    """A customer's account in the other program, twice."""

    book: Book
    naive: NaiveCommands


class CommandStoryRun(StoryRun):
    """Runs a story with commands on a book and on the naive model alike; each must tell the same of each command."""

    new_naive = NaiveCommands
    customer_ids = ("c1", "c2", "c3")

    def __init__(self, versions: Versions) -> None:
        super().__init__(versions)
        self.sent: list[tuple[str, str, dict[str, Any], datetime]] = []
        self.done: list[str] = []  #: the commands that were accepted
        self.merges = 0  #: that were accepted
        self.accounts: dict[str, NaiveCommands] = {}
        self.purses: dict[str, Purse] = {}  #: what they have in the other program
        self.paid: dict[Key, str] = {}  #: which order names what as having paid it
        for customer_id, (_, naive) in self.customers.items():
            assert isinstance(naive, NaiveCommands)
            naive.customer_id, self.accounts[customer_id] = customer_id, naive
            purse = Purse(Book(MONEY, customer_id=customer_id, beside=self.customers["c1"].book), NaiveCommands(MONEY))
            self.purses[customer_id], naive.purse = purse, purse.naive
            purse.naive.customer_id = customer_id
        payments = NaivePayments([*self.accounts.values()])
        homes: dict[str, NaiveCommands] = {}
        for naive in self.accounts.values():
            naive.payments, naive.homes = payments, homes
        self.payments = payments

    def check(self) -> None:
        """All invariants hold of the books, and the naive model agrees on every lot."""
        super().check()
        for customer_id, naive in self.accounts.items():
            book = self.customers[customer_id].book
            check_lots(book, naive)
            check_holds(book, naive)
        for book, purse in self.purses.values():
            check_everything(book)
            check_agreement(book, purse)
            check_lots(book, purse)
        check_payments(self.customers["c1"].book.books, self.payments)

    def takes_orders(self, customer_id: str) -> bool:
        return self.accounts[customer_id].status != "closed"

    def home_of(self, customer_id: str) -> str:
        return self.accounts[customer_id].survivor.customer_id

    def _step(self, kind: str, number: int, days: int) -> None:
        match kind:
            case "again" if self.sent:
                self._tell_command(*self.sent[number % len(self.sent)])
            case "clash" if self.sent:
                verb, command_id, data, at = self.sent[number % len(self.sent)]
                self._tell_command(verb, command_id, {**data, "reason": "something else"}, at)
            case "again" | "clash":
                pass
            case _ if kind in VALUE:
                self._command(kind, self._value_data(kind, number, days), days)
            case "create" if number % 4 == 3 and (made := [each for each in self.sent if each[0] == "account.create"]):
                _, _, data, at = made[-1]  # the same account by another command
                self._send_command("account.create", data, at)
            case _ if kind in ACCOUNTS or kind in MERGES:
                self._command(f"account.{kind}", self._account_data(kind, number, days), days)
            case "authorize" | "capture" | "void" | "reverse":
                self._command(kind, self._held_data(kind, number, days), days)
            case _ if kind in REWARDED:
                self._command(kind, self._reward_data(kind, number, days), days)
            case _:
                super()._step(kind, number, days)

    def _go_on(self, kind: str, number: int, days: int) -> None:
        super()._go_on(kind, number, days)
        for book, purse in self.purses.values() if kind in {"expire", "release"} else ():
            getattr(book, kind)(self.now)
            getattr(purse, kind)(self.now)

    def _post(self, message: ShopFact) -> None:
        """Orders name what has paid them now and then, and that follows them."""
        if isinstance(message, Return):
            super()._post(message)
            return
        told = self.told.get(message.order_id)
        was = None if told is None else paid_by(told.order)
        match message:
            case Order():
                message = self.sold[message.order_id] = self._paid(message, None)
            case AmendedOrder() if told is not None and told.is_new(message):
                message = message._replace(order=self._paid(message.order, was))
                self.sold[message.order_id] = message.order
        is_news = True
        if isinstance(message, OrderClaim | Fulfilment):
            is_news = False  # neither whose order it is nor where it is matters to what paid it
        elif told is not None and not isinstance(message, Order):
            is_news = told.is_new(message)
        super()._post(message)
        if is_news:
            self.payments.follow(self.told[message.order_id], was, self.now)

    def _paid(self, sold: Order, was: Key | None) -> Order:
        """An order, or what became of one, with what has paid it: nothing else that paid an order."""
        holds = [name for naive in self.accounts.values() for name in naive.holds if " " not in name]
        # What is not there yet may come.
        names: list[Key] = [("authorization", name) for name in (*holds, f"a{len(self.sent) + 1}")]
        taking = [each[1] for each in self.sent if each[0] in {"redeem", "debit"} and each[1] in self.done]
        taking = [name for name in taking if not any(purse.naive.did.get(name) for purse in self.purses.values())]
        names = [*names, *[("command", name) for name in taking]]
        names = [name for name in names if self.paid.get(name) in {None, sold.order_id}]
        is_rich = any(naive.all_points > 10**9 for naive in self.accounts.values())
        choice = len(self.sent) + len(self.refunds)
        key = None if is_rich or not names or choice % 4 == 3 else names[-1 - choice % min(3, len(names))]
        if was is not None and choice % 5:
            key = was
        if was is not None:
            self.paid.pop(was, None)
        if key is not None:
            self.paid[key] = sold.order_id
        kind, name = key or ("", None)
        return sold._replace(
            points_authorization_id=name if kind == "authorization" else None,
            points_command_id=name if kind == "command" else None,
        )

    def _command(self, verb: str, data: dict[str, Any], days: int) -> None:
        if days % 9 == 1 and verb in ACTED:
            data = {**data, "acting_customer_id": ("c1", "c2", *STRANGERS)[days // 9 % 4]}
        late = timedelta(days=days % 9 if days % 5 == 0 else 0)
        self._send_command(verb, data, self.now - late)

    def _send_command(self, verb: str, data: dict[str, Any], at: datetime) -> None:
        # Sources may number their commands as they number their orders.
        self.sent.append((verb, f"o{len(self.sent)}", data, at))
        self._tell_command(*self.sent[-1])

    def _tell_command(self, verb: str, command_id: str, data: dict[str, Any], at: datetime) -> None:
        for customer_id, naive in self.accounts.items():
            naive.tier_told = self.customers[customer_id].book.account.tier_id
        whose = data.get("customer_id", "c1")  # what names nobody, the first one looks into
        told = self.accounts[whose].command(verb, command_id, data, at, self.now)
        answer = self.customers[whose].book.command(verb, command_id, data, at, self.now)
        assert answer == told, f"{verb} {command_id}: {answer}, and not {told}"
        if told[0] == "accepted":
            self.done.append(command_id)
            self.merges += verb == "account.merge"
            self._find_owners()

    def _find_owners(self) -> None:
        """Whose account has each order, now that some have moved with all that their account had."""
        for order_id, owners in self.owners.items():
            for name, naive in self.accounts.items():
                if (sale := naive.sales.get(order_id)) is not None and not sale.has_left:
                    owners[-1] = name

    def _whom(self, number: int) -> dict[str, Any]:
        """Which account a command names, and how."""
        match number % 19:
            case 8:
                return linked_as(number)
            case 9:
                return {"account_id": f"own-{number % 2}"}
            case 10 | 11:
                return {"customer_id": "c2"}
            case 12:
                return {"customer_id": "c3"}
            case _:
                return {"customer_id": "c1"}

    def _value_data(self, kind: str, number: int, days: int) -> dict[str, Any]:
        whom = self._whom(number)
        match kind:
            case "credit":
                return whom | self._credit_data(number, days)
            case "debit":
                if number % 4 == 1 and "customer_id" in whom:
                    whom["program_id"] = MONEY.program_id
                return whom | self._debit_data(number)
            case "redeem":
                return whom | {"points": 1 + number % 120}
            case "adjust":
                return whom | self._adjust_data(number, days)
            case "convert":
                whom = {"customer_id": whom.get("customer_id", "c2")}
                to_program_id = "test" if number % 23 == 7 else MONEY.program_id
                points = 5 * (1 + number % 16) if number % 2 else 1 + number % 60
                return {**whom, "points": points, "to_program_id": to_program_id}
            case _:
                giver, getter = (("c2", "c1"), ("c1", "c2"), ("c1", "c3"), ("c3", "c2"))[days % 4]
                whom = {"customer_id": giver} if number % 5 else whom
                return {**whom, "to_customer_id": getter, **self._debit_data(number)}

    def _held_data(self, kind: str, number: int, days: int) -> dict[str, Any]:
        names = [name for naive in self.accounts.values() for name in naive.holds if " " not in name]
        if kind == "authorize":
            name = names[0] if names and number % 17 == 3 else f"a{len(self.sent)}"
            points = max(1, self.accounts["c1"].balance) if number % 3 == 0 else 1 + number % 60
            data = {**self._whom(number), "points": min(points, 10**6), "authorization_id": name}
            match days % 4:
                case 1:
                    data["expires_in_seconds"] = 3600 * (1 + number % 2000)
                case 2:
                    data["expires_at"] = self.now + timedelta(hours=number % 2200 - 5)
            return data
        if kind == "reverse":
            known = [each[1] for each in self.sent] if number % 5 == 0 else self.done
            data = {"command_id": known[-1 - number % min(4, len(known))] if known else "o9"}
            more = {"points": 1 + number % 60} if number % 3 == 0 else {}
            return data | more | ({"allow_negative_balance": True} if days % 3 == 0 else {})
        data = {"authorization_id": names[-1 - number % min(3, len(names))] if names else "a9"}
        if kind == "capture":
            data |= {"points": 1 + number % 60} if number % 3 else {}
            data |= {"is_final": False} if days % 2 else {}
        return data

    def _reward_data(self, kind: str, number: int, days: int) -> dict[str, Any]:
        names = [name.split()[1] for naive in self.accounts.values() for name in naive.holds if " " in name]
        if kind != "reward.issue":
            return {"issue_id": names[-1 - number % min(3, len(names))] if names else "a9"}
        # Now and then an id that another issue has, or an authorization, which is none of its kind.
        issue_id = f"a{number % 3}" if number % 17 == 3 else f"a{len(self.sent)}"
        reward_id = (*REWARDS, *REWARDS, "none")[days % 5]
        end = {"expires_at": self.now + timedelta(hours=number % 900 - 5)} if number % 3 == 0 else {}
        return {**self._whom(number), "reward_id": reward_id, "issue_id": issue_id, **end}

    def _account_data(self, kind: str, number: int, days: int) -> dict[str, Any]:
        whom = self._merging(kind, number) if kind in MERGES else self._whom(number)
        match kind:
            case "create":
                points = {"points": 1 + number % 70} if number % 2 else {}
                end = {"expires_at": self.now + timedelta(days=days - 3)} if points and number % 3 == 0 else {}
                customer_id = whom.get("customer_id", "c2")
                return {"customer_id": customer_id, "account_id": f"own-{number % 2}", **points, **end}
            case "close":
                to = {"points_left": "transfer", "to_customer_id": ("c1", "c2", "c3")[number % 3]}
                return whom | ({}, {"points_left": "forfeit"}, to)[days % 3]
            case "link" | "unlink":
                return {"customer_id": whom.get("customer_id", "c2"), **linked_as(number)}
            case "merge":
                own_id = {"into_account_id": f"own-{number % 2}"}
                # Now and then into itself.
                into = {"into_customer_id": self._anybody(number + (1, 2, 1, 2, 0)[days % 5])}
                return whom | (own_id if number % 13 == 5 else into)
            case "update":
                return whom | (
                    {"metadata": {"number": number % 2}} if days % 3 == 0 else self._members_data(whom, number)
                )
            case _:
                return whom

    def _merging(self, kind: str, number: int) -> dict[str, Any]:
        """Which account is merged, or no longer: mostly one that is merged."""
        merged = [name for name, naive in self.accounts.items() if naive.merge is not None]
        if kind == "unmerge" and merged and number % 4:
            return {"customer_id": merged[number % len(merged)]}
        return {"customer_id": self._anybody(number)} if number % 5 else self._whom(number)

    def _members_data(self, whom: dict[str, Any], number: int) -> dict[str, Any]:
        """Who is to be a member: customers who buy nothing, and those who have an account and keep it."""
        names = [name for name, naive in self.accounts.items() if naive.has_account and name != whom.get("customer_id")]
        chosen = [name for place, name in enumerate([*names, *STRANGERS]) if number >> place & 1]
        roles = ("member", "viewer")
        return {"members": [{"customer_id": name, "role": roles[number // 7 % 2]} for name in sorted(chosen)]}

    def _credit_data(self, number: int, days: int) -> dict[str, Any]:
        data: dict[str, Any] = {"points": 1 + number % 150}
        if number % 4 == 1:
            data["available_at"] = self.now + timedelta(days=days % 40 - 2)
        if number % 6 in {1, 2}:
            data["expires_at"] = self.now + timedelta(days=number % 60 - 1, hours=days % 24)
        if number % 31 == 7:
            data["unit"] = ("points", "miles")[days % 2]
        whose = self._whom(number).get("customer_id")
        if number % 97 == 3 and whose is not None and not self.paid and self.accounts[whose].all_points > days:
            data["points"] = 10**15 - days  # too many, so that there is room for what orders earn
        return data

    def _adjust_data(self, number: int, days: int) -> dict[str, Any]:
        data: dict[str, Any] = {"points": 1 + number % 80 if days % 2 else -1 - number % 80, "reason": "counted anew"}
        if data["points"] < 0 and number % 3 == 0:
            data["allow_negative_balance"] = True
        if data["points"] > 0 and number % 5 == 0:
            data["expires_at"] = self.now + timedelta(days=number % 60 - 1, hours=days % 24)
        return data

    def _debit_data(self, number: int) -> dict[str, Any]:
        data: dict[str, Any] = {"points": 1 + number % 120}
        if number % 3 == 0:
            data["allow_remainder"] = True
        if number % 31 == 7:
            data["unit"] = "miles"
        return data

"""Finds the rules and promotions that can apply to an order by its articles, without asking each of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from core.domain.orders.facts import OrderLine
from core.domain.program.conditions import Lines

Places = Mapping[str, Sequence[int]]  #: of the lines of one order that each rule and promotion looks for, by its name


class RuleIndex(NamedTuple):
    """The names of rules and promotions by the lines that they look for."""

    every_order: frozenset[str]
    by_sku: dict[str | None, list[str]]  #: lines without an article have None, which nothing looks for
    by_category: dict[str, list[str]]

    def places(self, lines: Sequence[OrderLine]) -> Places:
        """The places of the lines that each rule or promotion looks for; without those that are for every order.

        A rule or promotion that is missing gives nothing for these lines, nor for fewer of them.
        """
        found: dict[str, list[int]] = {}
        by_sku, by_category = self.by_sku, self.by_category
        for place, line in enumerate(lines):
            for name in by_sku.get(line.sku, ()):
                found.setdefault(name, []).append(place)
            for category in line.categories:
                for name in by_category.get(category, ()):
                    places = found.setdefault(name, [])
                    if not places or places[-1] != place:  # it may look for the article or for two of its categories
                        places.append(place)
        return found


def index_rules(parts: Iterable[tuple[str, Lines]]) -> RuleIndex:
    """Index the names of rules and promotions by what they look for."""
    every_order: list[str] = []
    by_sku: dict[str | None, list[str]] = {}
    by_category: dict[str, list[str]] = {}
    for name, lines in parts:
        if not (lines.skus or lines.categories):
            every_order.append(name)
        for sku in lines.skus:
            by_sku.setdefault(sku, []).append(name)
        for category in lines.categories:
            by_category.setdefault(category, []).append(name)
    return RuleIndex(frozenset(every_order), by_sku, by_category)

"""The plots of the report of `loyalty program simulate`."""

import re
from collections.abc import Callable, Sequence

import pytest

from workers.cli.charts import Pair, bars, lines

PAIRS = [Pair("2026-01", 1_000, 2_000), Pair("rings & more", 3, 0)]


@pytest.mark.parametrize("plot", [bars, lines])
@pytest.mark.parametrize("pairs", [PAIRS, []], ids=["two", "none"])
def test_a_plot_has_its_own_caption_and_each_value_a_tooltip(
    plot: Callable[[str, Sequence[Pair]], str], pairs: Sequence[Pair]
) -> None:
    text = plot("Points <granted>", pairs)
    assert re.findall(r"<figcaption>(.*?)</figcaption>", text) == ["Points &lt;granted&gt;"]
    assert re.findall(r'aria-label="(.*?)"', text) == ["Points &lt;granted&gt;"]
    told = [
        f"{label.replace('&', '&amp;')}, {side}: {value:,}"
        for label, *values in pairs
        for side, value in zip(("before", "after"), values, strict=True)
    ]
    assert sorted(re.findall(r"<title>(.*?)</title>", text)) == sorted(told)

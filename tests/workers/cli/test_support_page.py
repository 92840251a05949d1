"""The example of docs/support.md is what the commands print."""

from sqlalchemy import Engine

from tests.factories import line, order, refund
from tests.pages import ROOT, blocks
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine

PAGE = ROOT / "docs" / "support.md"
SHOP = "/shops/teahouse"


def test_the_example_of_the_support_page_is_what_the_commands_print(loyalty: CommandLine, engine: Engine) -> None:
    [program_text] = blocks(PAGE, "yaml")
    shell = Shell(engine, shards=16, program_text=program_text)
    basket = [
        line("1", "90.00", quantity=3, sku="TEAPOT"),
        line("2", "60.40", sku="TEA-1KG"),
        line("3", "4.95", kind="shipping", sku=None),
    ]
    of = {"customer_id": "C-1001", "source": SHOP, "currency": "GBP"}
    shell.take(order("5001", lines=basket, time="2026-03-01T12:00:00Z", **of))
    shell.take(order("5002", "220.00", time="2026-03-03T18:30:00Z", **of))
    returned = [{"line_id": "1", "quantity": 1}]
    shell.take(refund("77", "5001", source=SHOP, lines=returned, time="2026-03-05T09:00:00Z"))
    shell.execute("UPDATE orders SET recorded_at = occurred_at")  # the page cannot know when the test runs
    whole, of_order, for_customer = blocks(PAGE, "text")
    assert loyalty("account", "explain", "C-1001").out == whole
    assert loyalty("account", "explain", "C-1001", "--order", "5001").out == of_order
    assert loyalty("account", "explain", "C-1001", "--for", "customer").out == for_customer

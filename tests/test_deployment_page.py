"""What docs/deployment.md says about rights and addresses is what the code goes by."""

import re

from tests.pages import ROOT, table
from workers.bootstrap import checked_broker_url
from workers.brokers.amqp_topology import CONFIGURE_NOTHING, ROLE_READS, ROLE_WRITES, celery_topology
from workers.brokers.topology import EVENT_EXCHANGE, INTAKE_QUEUE, SUBMIT_QUEUE

PAGE = ROOT / "docs/deployment.md"


def test_the_rights_on_the_page_are_those_that_are_printed_and_they_suit_the_names() -> None:
    (cells,) = re.findall(
        r"\| configure \| write \| read \|\n.*\n\| `(.+?)` \| `(.+?)` \| `(.+?)` \|\n", PAGE.read_text()
    )
    assert tuple(cell.replace(r"\|", "|") for cell in cells) == (CONFIGURE_NOTHING, ROLE_WRITES, ROLE_READS)
    celery = celery_topology()
    written = [EVENT_EXCHANGE, *(exchange.name for exchange in celery.exchanges)]
    read = [INTAKE_QUEUE, SUBMIT_QUEUE, *(queue.name for queue in celery.queues)]
    assert all(re.search(ROLE_WRITES, name) for name in written)
    assert all(re.search(ROLE_READS, name) for name in read)
    assert not any(re.search(CONFIGURE_NOTHING, name) for name in (*written, *read))


def test_every_address_on_the_page_can_be_used() -> None:
    addresses = [cell.strip("`") for _, cell in table(PAGE, "What they give out")]
    assert addresses
    assert [checked_broker_url(address) for address in addresses] == addresses

"""`loyalty broker`: what must stand at RabbitMQ, where our roles may not declare it themselves."""

from typing import Annotated

import typer

from config.settings import Settings
from workers.brokers import declare_everything, url_without_password
from workers.brokers.amqp_topology import definitions as definitions_of
from workers.cli.broker_wiring import broker_url
from workers.cli.output import AsJson, print_json, say


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.command()(declare)
    group.command()(definitions)
    app.add_typer(group, name="broker", help="Exchanges and queues at RabbitMQ, for roles that may declare nothing.")


def declare(*, as_json: AsJson = False) -> None:
    """Declare all exchanges, queues and bindings at RabbitMQ, as a user that may. Again, nothing changes.

    \b
    LOYALTY_BROKER_URL='amqps://admin:...@mq.example/shop' loyalty broker declare

    Then roles with LOYALTY_DECLARE=false need no right to configure. Redis and Valkey need nothing declared.
    """
    url = broker_url(Settings())
    declared = declare_everything(url)
    if as_json:
        print_json({"declared": declared, "broker": url_without_password(url)})
    elif declared:
        say(f"At {url_without_password(url)} there are now: {', '.join(declared)}.")
    else:
        say(f"{url_without_password(url)} is not a RabbitMQ: nothing needs to be declared there.")


def definitions(
    *,
    vhost: Annotated[str, typer.Option(help="The virtual host to which all of it belongs.")] = "/",
    user: Annotated[
        str | None, typer.Option(help="Also give this user, who exists, what our roles need and no more.")
    ] = None,
) -> None:
    """Print the same as definitions in JSON, which RabbitMQ itself imports. Connects to nothing.

    \b
    loyalty broker definitions --vhost shop --user loyalty > definitions.json
    rabbitmqctl import_definitions definitions.json
    """
    print_json(definitions_of(vhost, user=user))

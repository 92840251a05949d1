"""`loyalty reward`: what points buy, and rewards that a person issues, redeems and takes back."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from config.settings import Settings
from core.domain.program import AmountReward, AnyReward, ItemReward, PercentReward, Program
from core.domain.value.rewards import Offer
from core.messages.outbound.told_rewards import told_reward
from core.reading.catalogue import RewardOffer, load_offers
from core.reading.snapshot import Snapshot
from core.reading.standing import Standing
from core.reading.storefront import find_standings, rewards_of
from core.receiving.executing import OPERATOR_SOURCE
from workers.cli.command_errors import WhichOfProgramsError
from workers.cli.output import AsJson, Row, count_text, print_json, print_listing, say, separated
from workers.cli.value_commands import add_spellings
from workers.cli.wiring import opened_snapshot


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.command("list")(list_rewards)
    add_spellings(group, "reward")
    app.add_typer(group, name="reward", help="What points buy; and rewards that are issued, redeemed and taken back.")


def list_rewards(
    *,
    program_id: Annotated[
        str | None, typer.Option("--program", help="Of this program; else of the only one here, or the default.")
    ] = None,
    customer_id: Annotated[
        str | None, typer.Option("--customer", help="Say which of them this customer can have now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the rewards of a program: price, what they give, what is left, and what a customer can have.

    \b
    loyalty reward list
    loyalty reward list --customer C-1001
    """
    catalogues: list[tuple[Program, Standing | None, Sequence[RewardOffer]]] = []
    with opened_snapshot(Settings()) as now:
        if customer_id is None:
            program = _program(now, program_id)
            catalogues.append((program, None, load_offers(now.connection, program, None, now.as_of)))
        else:
            found = find_standings(now, customer_id, program_id=program_id)
            catalogues += [(each.program, each, rewards_of(now, each)) for each in found.standings]
    if as_json:
        documents = [_document(program, standing, offers) for program, standing, offers in catalogues]
        print_json({"customer_id": customer_id, "programs": documents})
        return
    for program, standing, offers in separated(catalogues):
        _print_catalogue(program, standing, offers, customer_id)


def _program(now: Snapshot, program_id: str | None) -> Program:
    if program_id is not None:
        return now.program(program_id)
    known = now.registry.program_ids()
    found = now.registry.resolve(None, OPERATOR_SOURCE, now.as_of) or (known[0] if len(known) == 1 else None)
    if found is None:
        raise WhichOfProgramsError(known=", ".join(known) or "none")
    return now.program(found)


def _document(program: Program, standing: Standing | None, offers: Sequence[RewardOffer]) -> dict[str, Any]:
    return {
        "program_id": program.program_id,
        "account_id": None if standing is None else standing.account.account_id,
        "rewards": [
            {
                **told_reward(Offer(each.reward, program.currency)),
                "stock_left": each.stock_left,
                "had": each.had,
                "code": None if each.problem is None else each.problem.code,
                "detail": None if each.problem is None else each.problem.detail,
                "points_short": each.points_short,
            }
            for each in offers
        ],
    }


def _print_catalogue(
    program: Program, standing: Standing | None, offers: Sequence[RewardOffer], customer_id: str | None
) -> None:
    whose = "" if standing is None else f"; {customer_id} can spend {count_text(standing.points_spendable, 'point')}"
    say(f"Rewards of {program.name} ({program.program_id}){whose}", style="bold")
    if not offers:
        say("None: the program's file lists no rewards.")
        return
    rows = [
        Row(
            (
                each.reward.reward_id,
                f"{each.reward.cost:,}",
                _gives_text(each.reward, program),
                "-" if each.stock_left is None else f"{each.stock_left:,}",
                _now_text(each),
            )
        )
        for each in offers
    ]
    print_listing(("Reward", ">Costs", "Gives", ">Left", "Now"), rows)


def _gives_text(reward: AnyReward, program: Program) -> str:
    match reward:
        case AmountReward():
            gives = f"{reward.amount:f} {program.currency} off"
        case PercentReward():
            gives = f"{reward.percent:f} % off"
        case ItemReward():
            gives = f"article {reward.sku}"
        case _:
            gives = f"{reward.units:,} x {reward.unit_name}"
    return f"{reward.name}: {gives}"


def _now_text(offer: RewardOffer) -> str:
    if offer.problem is not None:
        return offer.problem.detail
    if offer.points_short is None:
        return "is issued"
    return "within reach" if offer.is_within_reach else f"{count_text(offer.points_short, 'point')} short"

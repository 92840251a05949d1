"""What a program says of value that has no effect: of limits, conversions, rewards, and points that are held."""

from collections.abc import Iterator
from datetime import date

from core.domain.program import ClawbackPolicy, CustomerLimit, Program, ValueLimits
from core.messages.program_files.advised import Advice


def value_advice(program: Program, today: date | None) -> Iterator[Advice]:
    """Say what does nothing, in the order of the file; with `today` also which rewards are over."""
    yield from _reserved(program)
    yield from _limits(program)
    yield from _conversions(program)
    yield from _rewards(program, today)


def _reserved(program: Program) -> Iterator[Advice]:
    if program.clawback.takes_reserved and program.clawback.policy is ClawbackPolicy.PENDING_ONLY:
        text = "changes nothing, as policy pending_only takes no points that could be reserved: take it out"
        yield Advice(("clawback", "takes_reserved"), text)


def _limits(program: Program) -> Iterator[Advice]:
    for name in ValueLimits.model_fields:
        limit: CustomerLimit = getattr(program.limits, name)
        if limit.per_day is not None and limit.per_month is not None and limit.per_day >= limit.per_month:
            text = f"changes nothing, as per_month is {limit.per_month}: make it smaller, or take it out"
            yield Advice(("limits", name, "per_day"), text)
    if program.limits.convert != CustomerLimit() and not program.conversions:
        yield Advice(("limits", "convert"), "limits nothing, as there are no conversions: take it out, or write some")


def _conversions(program: Program) -> Iterator[Advice]:
    for place, conversion in enumerate(program.conversions):
        least, step = conversion.points_min, conversion.points_step
        if least is None or step is None or least % step == 0:
            continue
        above = least + step - least % step
        text = f"means {above}, as only multiples of points_step, {step}, are converted: write {above}"
        if least < step:
            text = f"changes nothing, as points_step is {step}: take it out, or make it larger"
        yield Advice(("conversions", place, "points_min"), text)


def _rewards(program: Program, today: date | None) -> Iterator[Advice]:
    for place, reward in enumerate(program.rewards):
        if today is not None and reward.ends_on is not None and reward.ends_on < today:
            text = "is over: this reward is issued no more; move the date, or take the reward out"
            yield Advice(("rewards", place, "ends_on"), text)
        if reward.stock is not None and reward.per_customer is not None and reward.per_customer >= reward.stock:
            text = f"changes nothing, as stock is {reward.stock}: make it smaller, or take it out"
            yield Advice(("rewards", place, "per_customer"), text)

"""Rewards as events and answers tell them."""

from core.domain.program import AmountReward, ItemReward, PercentReward, UnitsReward
from core.domain.value.rewards import Offer
from core.messages.outbound.reward_events import ToldReward


def told_reward(offer: Offer) -> ToldReward:
    """What a reward is: its price, and what it gives."""
    reward = offer.reward
    told: ToldReward = {
        "reward_id": reward.reward_id,
        "name": reward.name,
        "kind": reward.kind,
        "cost": reward.cost,
    }
    match reward:
        case AmountReward():
            told["amount"] = f"{reward.amount:f}"
            told["currency"] = offer.currency
        case PercentReward():
            told["percent"] = f"{reward.percent:f}"
        case ItemReward():
            told["sku"] = reward.sku
        case UnitsReward():
            told["units"] = reward.units
            told["unit_name"] = reward.unit_name
    return told

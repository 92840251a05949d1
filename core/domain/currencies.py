"""How many decimal places the money of a currency has (ISO 4217)."""

from decimal import Decimal

#: Of all others two.
_PLACES = {
    "BIF": 0, "BYR": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0,
    "UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
    "CLF": 4, "UYW": 4,
    # Metals, units of account and codes for tests.
    "XAG": 0, "XAU": 0, "XBA": 0, "XBB": 0, "XBC": 0, "XBD": 0, "XDR": 0, "XPD": 0, "XPT": 0, "XSU": 0, "XTS": 0,
    "XUA": 0, "XXX": 0,
}  # fmt: skip
#: Withdrawn since 2016. Shops still give back money of orders in them, and programs that count them go on.
WITHDRAWN = frozenset(("ANG", "BGN", "BYR", "CUC", "HRK", "MRO", "SLL", "STD", "VEF", "ZWL"))


def decimal_places(code: str) -> int:
    """How many decimal places the money of a currency has: of EUR 2, of JPY none."""
    return _PLACES.get(code, 2)


def smallest_unit(code: str) -> Decimal:
    """The smallest amount of a currency in major units: of EUR 0.01, of JPY 1."""
    return Decimal(1).scaleb(-decimal_places(code))

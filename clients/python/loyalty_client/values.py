"""The kinds of value that messages hold. Made by clients/python/generate_types.py from docs/schemas; do not edit."""

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from loyalty_client.checks import decimal_text, unlike, visible

Id = Annotated[
    str,
    Field(min_length=1, max_length=200),
    AfterValidator(
        visible(
            "^[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad-\\u00ad\\u034f-\\u034f\\u061c-\\u061c\\u115f-\\u1160\\u1680-\\u1680\\u17b4-\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800-\\u2800\\u3000-\\u3000\\u3164-\\u3164\\ufe00-\\ufe0f\\ufeff-\\ufeff\\uffa0-\\uffa0\\ufff0-\\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff ](?:[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad-\\u00ad\\u034f-\\u034f\\u061c-\\u061c\\u115f-\\u1160\\u1680-\\u1680\\u17b4-\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800-\\u2800\\u3000-\\u3000\\u3164-\\u3164\\ufe00-\\ufe0f\\ufeff-\\ufeff\\uffa0-\\uffa0\\ufff0-\\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad-\\u00ad\\u034f-\\u034f\\u061c-\\u061c\\u115f-\\u1160\\u1680-\\u1680\\u17b4-\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800-\\u2800\\u3000-\\u3000\\u3164-\\u3164\\ufe00-\\ufe0f\\ufeff-\\ufeff\\uffa0-\\uffa0\\ufff0-\\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff ])?$"
        )
    ),
]
CustomerId = Annotated[
    str,
    Field(min_length=1, max_length=200),
    AfterValidator(
        visible(
            "^[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad-\\u00ad\\u034f-\\u034f\\u061c-\\u061c\\u115f-\\u1160\\u1680-\\u1680\\u17b4-\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800-\\u2800\\u3000-\\u3000\\u3164-\\u3164\\ufe00-\\ufe0f\\ufeff-\\ufeff\\uffa0-\\uffa0\\ufff0-\\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff@ ](?:[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad-\\u00ad\\u034f-\\u034f\\u061c-\\u061c\\u115f-\\u1160\\u1680-\\u1680\\u17b4-\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800-\\u2800\\u3000-\\u3000\\u3164-\\u3164\\ufe00-\\ufe0f\\ufeff-\\ufeff\\uffa0-\\uffa0\\ufff0-\\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff@]*[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad-\\u00ad\\u034f-\\u034f\\u061c-\\u061c\\u115f-\\u1160\\u1680-\\u1680\\u17b4-\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800-\\u2800\\u3000-\\u3000\\u3164-\\u3164\\ufe00-\\ufe0f\\ufeff-\\ufeff\\uffa0-\\uffa0\\ufff0-\\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff@ ])?$"
        )
    ),
]
Label = Annotated[str, Field(min_length=1, max_length=200, pattern="^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
Words = Annotated[str, Field(min_length=1, max_length=500, pattern="^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
OperatorName = Annotated[
    str,
    Field(min_length=1, max_length=100),
    AfterValidator(
        visible(
            "^[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad-\\u00ad\\u034f-\\u034f\\u061c-\\u061c\\u115f-\\u1160\\u1680-\\u1680\\u17b4-\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800-\\u2800\\u3000-\\u3000\\u3164-\\u3164\\ufe00-\\ufe0f\\ufeff-\\ufeff\\uffa0-\\uffa0\\ufff0-\\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff@ ](?:[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad-\\u00ad\\u034f-\\u034f\\u061c-\\u061c\\u115f-\\u1160\\u1680-\\u1680\\u17b4-\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800-\\u2800\\u3000-\\u3000\\u3164-\\u3164\\ufe00-\\ufe0f\\ufeff-\\ufeff\\uffa0-\\uffa0\\ufff0-\\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff@]*[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad-\\u00ad\\u034f-\\u034f\\u061c-\\u061c\\u115f-\\u1160\\u1680-\\u1680\\u17b4-\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800-\\u2800\\u3000-\\u3000\\u3164-\\u3164\\ufe00-\\ufe0f\\ufeff-\\ufeff\\uffa0-\\uffa0\\ufff0-\\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff@ ])?$"
        )
    ),
]
OwnAccountId = Annotated[
    str,
    Field(min_length=1, max_length=64),
    AfterValidator(
        visible(
            "^[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad-\\u00ad\\u034f-\\u034f\\u061c-\\u061c\\u115f-\\u1160\\u1680-\\u1680\\u17b4-\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800-\\u2800\\u3000-\\u3000\\u3164-\\u3164\\ufe00-\\ufe0f\\ufeff-\\ufeff\\uffa0-\\uffa0\\ufff0-\\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff@ ](?:[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad-\\u00ad\\u034f-\\u034f\\u061c-\\u061c\\u115f-\\u1160\\u1680-\\u1680\\u17b4-\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800-\\u2800\\u3000-\\u3000\\u3164-\\u3164\\ufe00-\\ufe0f\\ufeff-\\ufeff\\uffa0-\\uffa0\\ufff0-\\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff@]*[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad-\\u00ad\\u034f-\\u034f\\u061c-\\u061c\\u115f-\\u1160\\u1680-\\u1680\\u17b4-\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800-\\u2800\\u3000-\\u3000\\u3164-\\u3164\\ufe00-\\ufe0f\\ufeff-\\ufeff\\uffa0-\\uffa0\\ufff0-\\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff@ ])?$"
        )
    ),
    AfterValidator(unlike("^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")),
]
CardNumber = Annotated[str, Field(min_length=4, max_length=64, pattern="^[0-9A-Za-z-]+$")]
CurrencyCode = Annotated[str, Field(pattern="^[A-Z]{3}$")]
Amount = Annotated[str | Decimal, BeforeValidator(decimal_text("^[0-9]{1,12}(\\.[0-9]{1,4})?$"))]
SignedAmount = Annotated[str | Decimal, BeforeValidator(decimal_text("^-?[0-9]{1,12}(\\.[0-9]{1,4})?$"))]
Quantity = Annotated[
    Annotated[int, Field(gt=0, le=999_999_999_999)] | str | Decimal,
    BeforeValidator(decimal_text("^[0-9]{1,12}(\\.[0-9]{1,3})?$", not_zero=True)),
]
SignedQuantity = Annotated[
    Annotated[int, Field(ge=-999_999_999_999, le=999_999_999_999)] | str | Decimal,
    BeforeValidator(decimal_text("^-?[0-9]{1,12}(\\.[0-9]{1,3})?$")),
]
ExchangeRate = Annotated[str | Decimal, BeforeValidator(decimal_text("^[0-9]{1,12}(\\.[0-9]{1,12})?$", not_zero=True))]
Attributes = Annotated[dict[str, str | int | bool], Field(max_length=100)]
Points = Annotated[int, Field(ge=1, le=1_000_000_000_000_000)]

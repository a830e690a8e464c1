"""Values of rows as others can hold them."""

import math
from collections.abc import Mapping


def plain(value: object) -> object:
    """A value of a row as JSON can hold it: NaN and infinity, which it has no words for, as null.

    Other types than JSON's are left to `json.dumps(default=…)`.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value

"""What bundles may be called."""

import re

EXPECTED = "lower-case letters and digits in words joined by '-', such as 'svd-r1'"


def is_name(name: str) -> bool:
    """Whether a bundle may be called so."""
    return re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) is not None

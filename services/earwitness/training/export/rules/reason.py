"""How a rule says that it does not cover a case."""


class NoRule(Exception):
    """The operator has a rule, but not for these arguments; the text says why."""

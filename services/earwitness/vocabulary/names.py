"""Resource names, in full (`references/voices/versions/2`) and short, as people type them (`voices/versions/2`)."""

MODELS, REFERENCES, SWEEPS, OPERATIONS = "models", "references", "sweeps", "operations"


def short(name: str) -> str:
    """A name without its collection."""
    for collection in (MODELS, REFERENCES, SWEEPS, OPERATIONS):
        name = name.removeprefix(f"{collection}/")
    return name


def resource(collection: str, name: str) -> str:
    """The full name, given either form."""
    return f"{collection}/{name.removeprefix(f'{collection}/')}"

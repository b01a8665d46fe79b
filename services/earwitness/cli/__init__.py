"""The command line, on top of the Python client.

Commands import what they need when they run: `earwitness --help` stays quick, and only training loads torch.
"""


def main() -> None:
    """Run one command.

    Raises: SystemExit, always: 0, 1 for a failure, 2 for wrong usage.
    """
    from earwitness.cli.app import app

    app(prog_name="earwitness")

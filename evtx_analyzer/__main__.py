"""``python -m evtx_analyzer`` and the console script.

Importing the command line takes a while, in which Ctrl-C must not show a traceback: so nothing is imported above.
"""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from evtx_analyzer.cli import main as run  # noqa: PLC0415  see the module
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()

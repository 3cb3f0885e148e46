"""``python -m evtx_analyzer``."""

from evtx_analyzer.cli import main

if __name__ == "__main__":
    main()

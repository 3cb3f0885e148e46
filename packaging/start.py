"""What the single file runs. Workers of a batch are started from the same file, so they are told apart first."""

import multiprocessing

from evtx_analyzer.__main__ import main

if __name__ == "__main__":
    multiprocessing.freeze_support()
    main()

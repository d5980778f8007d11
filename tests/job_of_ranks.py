"""`cofire` in tests of several processes: tiles of 16 features; rank DIES, if set, is killed halfway."""

import os
import signal

import compare.dyads
from compare.cli import main
from compare.moments import MeanOutputs

if __name__ == "__main__":
    compare.dyads.TILE = 16
    if os.environ.get("DIES", "none") == os.environ.get("RANK"):
        MeanOutputs.pool = lambda self: os.kill(os.getpid(), signal.SIGKILL)
    main()

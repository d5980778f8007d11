"""`cofire` as several processes: tiles of 16 features, readings kept always; rank DIES, if set, is killed."""

import os
import signal

import compare.dyads
import compare.reading
from compare.cli import main
from compare.moments import MeanOutputs

if __name__ == "__main__":
    compare.dyads.TILE = 16
    compare.reading.SECONDS_BETWEEN = 0.0
    if os.environ.get("DIES", "none") == os.environ.get("RANK"):
        MeanOutputs.pool = lambda self: os.kill(os.getpid(), signal.SIGKILL)
    main()

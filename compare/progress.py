"""One line of progress, with time left, for each long step."""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from compare import ranks

Progress = Callable[[int, int | None], None]
"""Called as progress(done, total) by whatever takes long; total None where it is not known."""

Step = Callable[[str], AbstractContextManager[Progress]]
"""Opens a step of a title, as step() below does."""

SECONDS_BETWEEN_PLAIN_LINES = 15.0
SMALL = 0.01
"""Share of the whole below which the first piece that is done says nothing of how long the others take."""
TIMINGS = "timings.json"


@contextmanager
def step(title: str, *, quiet: bool = False) -> Iterator[Progress]:
    """A callback that shows how far a step has come: a live bar on a terminal, plain lines elsewhere."""
    if quiet or not ranks.is_first():
        yield lambda done, total: None
    elif sys.stderr.isatty():
        with live_bar(title) as progress:
            yield progress
    else:
        started = time.monotonic()
        print(f"{title} ...", file=sys.stderr, flush=True)
        yield plain_lines(title, started)
        print(f"{title}: done in {duration(time.monotonic() - started)}", file=sys.stderr, flush=True)


class Timed:
    """Steps whose seconds are kept by title: to be told beside results, never among them."""

    def __init__(self, steps: Step) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._steps = steps

    @contextmanager
    def __call__(self, title: str) -> Iterator[Progress]:
        """A step as it was."""
        wall, cpu = time.monotonic(), core_seconds()
        with self._steps(title) as progress:
            yield progress
        spent = self.seconds.setdefault(title, [0.0, 0.0])
        spent[0] += time.monotonic() - wall
        spent[1] += core_seconds() - cpu

    def save(self, folder: Path) -> None:
        """Seconds of waiting and of the processor by title, beside what is in the folder."""
        (folder / TIMINGS).write_text(json.dumps(self.seconds, indent=1) + "\n", encoding="utf-8")


def core_seconds() -> float:
    """What this process has used of the processor, and the processes that it started and that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


@contextmanager
def live_bar(title: str) -> Iterator[Progress]:
    """A bar that rewrites its own line."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def plain_lines(title: str, started: float) -> Progress:
    """A callback that prints a line now and then: what is done, what is left."""
    last, since, before = started, started, 0
    is_first = True

    def show(done: int, total: int | None) -> None:
        nonlocal last, since, before, is_first
        now = time.monotonic()
        if is_first and total and done < SMALL * total:
            since, before = now, done  # what came before the first of many pieces was preparation
        is_first = False
        if total and before < done < total and now - last >= SECONDS_BETWEEN_PLAIN_LINES:
            left = (now - since) * (total - done) / (done - before)
            print(f"{title}: {done / total:.0%}, {duration(left)} left", file=sys.stderr, flush=True)
            last = now

    return show


def duration(seconds: float) -> str:
    """Seconds as a person says them: 8 s, 3 min 20 s, 1 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"

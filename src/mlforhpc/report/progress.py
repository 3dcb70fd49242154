"""Live progress of a run: what runs, how far, what it found; a subscriber of the trace that holds up no task."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from mlforhpc.core.events import Decision, Event, Finished, Submitted
from mlforhpc.core.trace import Subscription, Trace

PLAIN_EVERY_S = 15.0  # on a console that is no terminal, a line at most this often


class Progress:
    """`with Progress(title) as bar: bar.follow(trace)`; one bar a kind of task and charge."""

    def __init__(self, title: str, *, show: bool) -> None:
        self.title = title
        self._console = Console(stderr=True, quiet=not show)
        self._rich = RichProgress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=self._console, transient=True
        )
        self._bars: dict[str, int] = {}
        self._kinds: dict[int, str] = {}
        self._counts: dict[str, list[int]] = {}
        self._plain_at = time.monotonic()
        self._subscription: Subscription | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        self._console.print(f"[bold]{self.title}[/]")
        if self._console.is_terminal:
            self._rich.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._subscription is not None and self._thread is not None:
            self._subscription.close()
            self._thread.join(timeout=5.0)
        self._rich.stop()

    def follow(self, trace: Trace) -> None:
        """Show what a trace says from now on."""
        if self._console.quiet:
            return
        self._subscription = subscription = trace.subscribe()
        self._thread = threading.Thread(target=self._watch, args=(subscription,), name="progress", daemon=True)
        self._thread.start()

    def _watch(self, subscription: Subscription) -> None:
        for event in subscription:
            self._show(event)

    def _show(self, event: Event) -> None:
        match event:
            case Submitted():
                self._kinds[event.task] = name = f"{event.kind} ({event.charge})"
                self._counts.setdefault(name, [0, 0])[1] += 1
            case Finished() if event.task in self._kinds and event.outcome != "lost":
                name = self._kinds.pop(event.task)
                self._counts[name][0] += 1
                if event.outcome in ("failed", "timed_out"):
                    self._console.print(f"  task {event.task} {event.outcome}: {event.reason}", markup=False, style="yellow")
            case Decision(decision="learned"):
                runs = event.data.get("runs", len(event.data.get("keys", [])))
                self._console.print(f"  learned surrogate {event.data.get('version')} from {runs} runs")
                return
            case Decision(decision="forecast"):
                self._console.print(f"  {event.data.get('sentence')}", markup=False)
                return
            case Decision(decision="stop"):
                self._console.print(f"  {event.data.get('reason')}", markup=False)
                return
            case _:
                return
        self._update(name)

    def _update(self, name: str) -> None:
        done, total = self._counts[name]
        if self._console.is_terminal:
            if name not in self._bars:
                self._bars[name] = self._rich.add_task(f"  {name}", total=total)
            self._rich.update(self._bars[name], completed=done, total=total)  # type: ignore[arg-type]
        elif time.monotonic() - self._plain_at > PLAIN_EVERY_S:
            self._plain_at = time.monotonic()
            self._console.print("  " + ", ".join(f"{n} {d}/{t}" for n, (d, t) in self._counts.items()), markup=False, soft_wrap=True)

"""A live view of one deliberation: a table where there is a terminal, lines where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..loopers.base import Progress
from .console import err, plain

_PREVIEW = 48


@dataclass(slots=True)
class _Row:
    who: str
    model: str
    state: str = "waiting"
    detail: str = ""


class Watch:
    """Shows progress on standard error until the answer begins."""

    def __init__(self, *, live: bool, shown: bool) -> None:
        """
        Args:
            live: redraw a table in place; else print one line per event.
            shown: False: show nothing at all.
        """
        self._shown = shown
        self._rows: dict[str, _Row] = {}
        self._live: Live | None = None
        if shown and live:
            self._live = Live(
                get_renderable=self._table, console=err, refresh_per_second=8, transient=False
            )
        self._started = False

    def progress(self, progress: Progress) -> None:
        """Takes one event."""
        if not self._shown:
            return
        row = self._row(progress)
        if self._live is None:
            err.print(f"{row.who:<10} {row.model:<28} {row.state:<9} {row.detail}".rstrip())
        elif not self._started:
            self._started = True
            self._live.start()

    def stop(self, *, broken: bool = False) -> None:
        """Leaves the view as it stands. Safe to call again.

        Args:
            broken: no answer came of it.
        """
        if self._live is not None and self._started:
            for row in self._rows.values():
                if row.state in ("asking", "comparing", "writing"):
                    row.state = "done" if row.state == "writing" and not broken else "cancelled"
            self._live.stop()
            self._live = None
            err.print("")

    def summary(self, final: Mapping[str, Any]) -> None:
        """Prints what the answer took."""
        if not self._shown:
            return
        usage, trace = final.get("usage") or {}, final.get("fusion") or {}
        writer = trace.get("synthesis_model") or final.get("model", "?")
        said = [f"model {plain(str(writer))}"]
        if usage:
            said.append(f"{usage.get('total_tokens', 0)} tokens")
        if trace.get("iterations"):
            said.append(f"{trace['iterations']} calls")
        if trace.get("cost_usd") is not None:
            said.append(f"${trace['cost_usd']:.6f}")
        said += [f"degraded: {e['stage']} ({e['reason']})" for e in trace.get("degraded") or ()]
        err.print(f"\n[{', '.join(said)}]")

    def _row(self, progress: Progress) -> _Row:
        event, fields = progress.event, progress.fields
        who, _, what = event.partition("_")
        name = f"panel {fields['seat'] + 1}" if who == "panel" else who
        row = self._rows.setdefault(name, _Row(name, ""))
        row.model = plain(str(fields.get("model", "")))
        if what == "started":
            row.state = {"panel": "asking", "judge": "comparing"}.get(who, "writing")
            row.detail = ""
        elif what == "answered":
            row.state = "answered"
            row.detail = _answered(fields)
        elif what == "failed":
            row.state, row.detail = "failed", plain(str(fields.get("reason", "")))
        else:
            row.state = "done" if fields.get("parsed", True) else "unparsed"
            found = fields.get("found") or {}
            row.detail = ", ".join(f"{n} {key.replace('_', ' ')}" for key, n in found.items() if n)
        return row

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for row in self._rows.values():
            style = _STYLES.get(row.state, "")
            table.add_row(
                Text(row.who, "bold"), row.model, Text(row.state, style), Text(row.detail, "dim")
            )
        return table


_STYLES = {
    "asking": "yellow",
    "comparing": "yellow",
    "writing": "yellow",
    "answered": "green",
    "done": "green",
    "failed": "red",
    "cancelled": "red",
    "unparsed": "red",
}


def print_trace(trace: Mapping[str, Any]) -> None:
    """Prints the panel's answers and the judge's analysis."""
    for response in trace.get("responses") or ():
        cut = ", cut at its token limit" if response.get("truncated") else ""
        err.print(f"--- Answer {response['label']}: {plain(response['model'])}{cut}")
        err.print(f"{plain(response['content'])}\n")
    for failed in trace.get("failed_models") or ():
        err.print(plain(f"--- No answer from {failed['model']}: {failed['error']}\n"))
    analysis = trace.get("analysis")
    if analysis:
        err.print(plain(f"--- Analysis by {trace['judge_model']}"))
        _print_analysis(analysis)
    err.print(plain(f"--- Answer, written by {trace['synthesis_model']}"))


def _print_analysis(analysis: Mapping[str, Any]) -> None:
    if analysis.get("parse_failed"):
        err.print("(no structured analysis: the judge's reply could not be read)\n")
        return
    for key, items in analysis.items():
        err.print(f"{key.replace('_', ' ')}:{'' if items else ' none'}")
        for item in items:
            err.print(f"  - {plain(_item(item))}")
    err.print("")


def _item(item: Any) -> str:
    if isinstance(item, str):
        return item
    if "stances" in item:
        stances = "; ".join(_by(s["model"], s["stance"]) for s in item["stances"])
        return f"{item['topic']}: {stances}" if stances else str(item["topic"])
    if "insight" in item:
        return _by(item["model"], item["insight"])
    return _by(", ".join(item["models"]), item["point"])


def _by(who: str, what: str) -> str:
    return f"{who}: {what}" if who else what


def _answered(fields: Mapping[str, Any]) -> str:
    said = [f"{fields.get('latency_ms', 0) / 1000:.1f} s"]
    usage = fields.get("usage")
    if usage:
        said.append(f"{usage['completion_tokens']} tokens")
    content = plain(" ".join(str(fields.get("content", "")).split()))
    if content:
        said.append(content[:_PREVIEW] + ("…" if len(content) > _PREVIEW else ""))
    return "  ".join(said)

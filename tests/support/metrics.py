"""What `/metrics` says, read by the library that Prometheus' own clients use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from support.client import get

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Scrape:
    """All samples of one scrape."""

    samples: Mapping[tuple[str, Labels], float]

    def value(self, name: str, **labels: str) -> float:
        """Adds up the samples that have at least these labels; 0 when there is none."""
        wanted = labels.items()
        return sum(
            value
            for (found, has), value in self.samples.items()
            if found == f"consilience_{name}" and wanted <= dict(has).items()
        )

    def since(self, before: Scrape, name: str, **labels: str) -> float:
        """Gives how much that has grown: a process counts for all its tests together."""
        return self.value(name, **labels) - before.value(name, **labels)


def scraped(url: str, headers: Mapping[str, str] | None = None) -> Scrape:
    """Asks for the metrics."""
    response = get(url, "/metrics", headers)
    assert response.status == 200, response.body
    return read(response.body)


def read(text: bytes) -> Scrape:
    """Reads Prometheus' text format."""
    families = text_string_to_metric_families(text.decode())
    return Scrape(
        {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}
    )

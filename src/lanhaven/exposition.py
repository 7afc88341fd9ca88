"""Counters and histograms as Prometheus scrapes them.

prometheus-client's own Histogram walks its buckets in Python under a lock for each observation, a tenth of what a
request costs here (measured). These count by bisection in the one event loop there is, and become its metric families
when somebody scrapes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)  # seconds


class Count:
    """A counter. Adding to `value` is all there is to counting."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Distribution:
    """Observations: how many fell at or below each bound, and their sum."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulated, as the text format wants them."""
        reached, pairs = 0, []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self._counts, strict=True):
            reached += count
            pairs.append((bound, float(reached)))
        return pairs


Child = TypeVar("Child", Count, Distribution)


# What a gauge shows now: label values, and the value.
Measure = Callable[[], Iterable[tuple[tuple[str, ...], float]]]


class Family(Generic[Child]):
    """All series of one name. `labels` gives the child of some label values; keep it where it is used often."""

    def __init__(self, make: Callable[[], Child], name: str, help_text: str, *labels: str) -> None:
        self.name, self.help, self.label_names = name, help_text, labels
        self._make: Callable[[], Child] = make
        self.children: dict[tuple[str, ...], Child] = {}

    def labels(self, *values: str) -> Child:
        child = self.children.get(values)
        if child is None:
            child = self.children[values] = self._make()
        return child


class Registry(Collector):
    """Families and gauges of one server."""

    def __init__(self) -> None:
        self._counters: list[Family[Count]] = []
        self._histograms: list[Family[Distribution]] = []
        self._gauges: list[tuple[str, str, Measure, tuple[str, ...]]] = []
        self._prometheus = CollectorRegistry()
        self._prometheus.register(self)

    def counter(self, name: str, help_text: str, *labels: str) -> Family[Count]:
        self._counters.append(Family(Count, name, help_text, *labels))
        return self._counters[-1]

    def histogram(self, name: str, help_text: str, *labels: str) -> Family[Distribution]:
        self._histograms.append(Family(Distribution, name, help_text, *labels))
        return self._histograms[-1]

    def gauge(self, name: str, help_text: str, measure: Measure, *labels: str) -> None:
        self._gauges.append((name, help_text, measure, labels))

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus-client for each scrape."""
        for name, text, measure, labels in self._gauges:
            gauge = GaugeMetricFamily(name, text, labels=labels)
            for values, value in measure():
                gauge.add_metric(values, value)
            yield gauge
        for counter in self._counters:
            counts = CounterMetricFamily(counter.name, counter.help, labels=counter.label_names)
            for values, count in counter.children.items():
                counts.add_metric(values, count.value)
            yield counts
        for histogram in self._histograms:
            family = HistogramMetricFamily(histogram.name, histogram.help, labels=histogram.label_names)
            for values, seen in histogram.children.items():
                family.add_metric(values, seen.buckets(), seen.total)
            yield family

    def text(self) -> bytes:
        """The text format."""
        return generate_latest(self._prometheus)

"""The page of all metrics: what a scrape of a service finds, from the definitions themselves."""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Final

from prometheus_client.metrics import MetricWrapperBase

from embedded.workspace import NAMES
from shared import telemetry

_INTRODUCTION: Final = """\
# Metrics

Generated from the definitions; `make docs` writes it anew. Every service gives its metrics at `GET /metrics` on its own
port, the gateway on its internal one, in the text format of Prometheus; the front door gives them to nobody. A counter
begins anew when its process does. A gauge that could not be measured is `NaN`: alert on that, too.
"""


def page() -> str:
    """Return the Markdown page of all metrics."""
    lines = [_INTRODUCTION, "## Every service", "", *_table(telemetry)]
    for name in NAMES:
        if find_spec(f"{name}.jobs") is not None:
            import_module(f"{name}.jobs")
        jobs = [module for path, module in sys.modules.items() if path.startswith(f"{name}.jobs")]
        if any(_metrics_of(*jobs)):
            lines += [f"## {name}", "", *_table(*jobs)]
    return "\n".join(lines)


def _table(*modules: ModuleType) -> list[str]:
    return ["| Metric | Kind | By | Meaning |", "|---|---|---|---|", *sorted(map(_row, _metrics_of(*modules))), ""]


def _metrics_of(*modules: ModuleType) -> set[MetricWrapperBase]:
    return {value for module in modules for value in vars(module).values() if isinstance(value, MetricWrapperBase)}


def _row(metric: MetricWrapperBase) -> str:
    [described] = metric.describe()
    name = f"{described.name}_total" if described.type == "counter" else described.name
    names: tuple[str, ...] = getattr(metric, "_labelnames")  # noqa: B009 - private, and told in no other way
    labels = ", ".join(f"`{one}`" for one in names)
    return f"| `{name}` | {described.type} | {labels} | {described.documentation.replace('|', chr(92) + '|')} |"

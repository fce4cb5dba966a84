"""The frontier as a page that needs nothing else: needs `pip install bellhousing[plot]`."""

from collections.abc import Sequence
from pathlib import Path

from bellhousing.errors import ConfigurationError
from bellhousing.tuning.report import Point, frontier
from bellhousing.tuning.space import label

HOVER = "%{text}<br>%{x:.0f} tokens/s, %{y:.1f} ms"


def check_plot() -> None:
    """Raise `ConfigurationError` where the library for plots is not installed."""
    try:
        import plotly.graph_objects  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise ConfigurationError("--plot needs plotly, found none", hint="`pip install 'bellhousing[plot]'`") from error


def write_plot(path: Path, points: Sequence[Point], title: str) -> None:
    """Write rate against inter-token latency and TTFT, a line for each candidate over its numbers of streams."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    page = make_subplots(rows=1, cols=2, subplot_titles=("inter-token latency, p95", "TTFT, p95"))
    lines: dict[str, list[Point]] = {}
    for point in points:
        lines.setdefault(label(point.settings), []).append(point)
    for place, (name, line) in enumerate(lines.items()):
        style = {"color": page.layout.template.layout.colorway[place % 10]}
        hover = [f"{name}<br>{p.streams} streams, bound by {p.constraint}" for p in line]
        for column, heights in ((1, [p.gap_p95 for p in line]), (2, [p.ttft_p95 for p in line])):
            trace = go.Scatter(
                x=[p.rate for p in line], y=heights, name=name, legendgroup=name, showlegend=column == 1, text=hover,
                mode="lines+markers", line=style, marker=style, hovertemplate=HOVER,
            )  # fmt: skip
            page.add_trace(trace, row=1, col=column)
    best = frontier(points)
    edge = go.Scatter(
        x=[p.rate for p in best], y=[p.gap_p95 for p in best], name="frontier", mode="markers",
        marker={"symbol": "circle-open", "size": 16, "color": "black"}, hoverinfo="skip",
    )  # fmt: skip
    page.add_trace(edge, row=1, col=1)
    page.update_xaxes(title="output tokens/s of all streams", rangemode="tozero")
    page.update_yaxes(title="ms", rangemode="tozero")
    page.update_layout(title=title, legend={"orientation": "h", "y": -0.2})
    page.write_html(path, include_plotlyjs=True)

"""Writes the Grafana dashboards, by default into the chart: `python deploy/grafana/generate.py [FOLDER]`.

Their contents are in `dashboards.py`; here it becomes Grafana's JSON, through Grafana's own builders.
"""

import sys
from itertools import count
from pathlib import Path
from string import ascii_uppercase

from dashboards import DASHBOARDS, Board, Panel
from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.builders.common import VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableOption, VariableRefresh

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH, HEIGHT = 8, 8
"""Of a panel, where a row is 24 wide."""


def render(board: Board) -> str:
    """The JSON of a dashboard."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .tags(["earwitness"])
        .description(board.description)
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("namespace")
            .label("Namespace")
            .datasource(SOURCE)
            .query('label_values(up{job=~"earwitness-.+"}, namespace)')
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .all_value(".*")  # also where there is no such label, as on one machine
            .current(VariableOption(text="All", value="$__all"))
        )
    )
    numbers = count(1)
    for title, panels in board.rows.items():
        built = built.with_row(dashboard.Row(title).id(next(numbers)))
        for panel in panels:
            built = built.with_panel(_panel(panel).id(next(numbers)))
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def _panel(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .span(WIDTH)
        .height(HEIGHT)
        .fill_opacity(10)
        .legend(
            VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if panel.from_zero:
        made = made.min(0)
    for letter, (expression, legend) in zip(ascii_uppercase, panel.queries.items(), strict=False):
        made = made.with_target(prometheus.Dataquery().ref_id(letter).expr(expression).legend_format(legend))
    return made


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "helm/earwitness/files/dashboards"
    for each in DASHBOARDS:
        (folder / f"{each.uid}.json").write_text(render(each), encoding="utf-8")

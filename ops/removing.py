"""The command that makes a deployment forget a data row."""

from __future__ import annotations

import click
from rich.console import RenderableType

from ops.forgetting import ForgetPlan, Forgetting
from ops.operator import Operator, OpsCommand, pass_operator
from ops.screen import table


@click.command(cls=OpsCommand)
@click.argument("data_row", metavar="DATA_ROW")
@click.option("--yes", "sure", is_flag=True, help="Remove; without it only what would be removed is shown.")
@pass_operator
def forget(operator: Operator, data_row: str, sure: bool) -> int:
    """Remove every copy of a data row (its id or global key) that runs made. Says what it cannot reach."""
    forgetting = Forgetting(operator.deployment, data_row)
    planned = forgetting.plan()
    if sure:
        forgetting.carry_out(planned)
    operator.screen.show({**planned.shown(), "removed": sure}, *_planned(planned, sure))
    return 0


def _planned(planned: ForgetPlan, removed: bool) -> list[RenderableType]:
    verb = "removed" if removed else "would be removed"
    rows = [(item.name, "object" if item.removed else "from the object", item.gone) for item in planned.changes]
    rows += [(item.name, item.kind, "the whole data set with its pictures") for item in planned.datasets]
    return [
        f"data row {planned.data_row}, in runs: {', '.join(map(str, planned.runs)) or 'none'}",
        table(verb, ("where", "", "what"), rows) if rows else "nothing is left of it here",
        "out of reach:",
        *(f"- {text}" for text in planned.out_of_reach),
        *([] if removed else ["This was a dry run: add --yes to remove it."]),
    ]

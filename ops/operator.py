"""What every command has at hand: the deployment (reached when first needed), the screen, the operator's prices."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from ops.deployment import Deployment
from ops.published import published
from ops.screen import Screen
from ops.target import Target
from ops.usage import Prices


class Operator:
    """One invocation. `deployment` may be handed in, as tests do."""

    def __init__(self, deployment: Deployment | None = None) -> None:
        self._given = deployment
        self.target = Target()
        self.as_json = False
        self.prices_file: Path | None = None

    def take(self, options: Mapping[str, Any]) -> None:
        """The options that stand before the command."""
        self.target = Target(**{name: value for name, value in options.items() if name in Target.__dataclass_fields__})
        self.as_json = bool(options.get("as_json"))
        self.prices_file = options.get("prices")

    @cached_property
    def deployment(self) -> Deployment:
        """The deployment that the command is for."""
        return self._given or self.target.open()

    def close(self) -> None:
        """Close the deployment, if the command reached one of its own."""
        if self._given is None and "deployment" in self.__dict__:
            self.deployment.close()

    @cached_property
    def screen(self) -> Screen:
        """Where the command prints."""
        return Screen(as_json=self.as_json)

    @cached_property
    def prices(self) -> Prices:
        """The operator's own prices, else Google's published ones of the deployment's region as far as they are known.
        What runs on this machine costs nobody anything by the hour: there, only one's own prices count."""
        if self.prices_file:
            return Prices.read(self.prices_file)
        deployment = self.deployment
        return Prices() if deployment.is_local else published().prices(deployment.settings.region)


class OpsCommand(click.Command):
    """A command that also takes --json behind its name."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params.append(
            click.Option(
                ["--json", "as_json"],
                is_flag=True,
                expose_value=False,
                callback=_set_json,
                help="Print JSON, for scripts.",
            )
        )


def _set_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and isinstance(context.obj, Operator):
        context.obj.as_json = True


pass_operator = click.make_pass_decorator(Operator)

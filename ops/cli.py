"""The command line: its options, its commands, and what its errors become."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ops import planning, removing, seeing, steering
from ops.deployment import Deployment
from ops.errors import OpsError
from ops.operator import Operator
from ops.target import Target
from orchestrator import logs
from orchestrator.errors import ServiceError

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
_CREDENTIALS = "gcloud auth application-default login"


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong command line, 3 not found.",
)
@click.option("--project", default="", help="Google Cloud project [GOOGLE_CLOUD_PROJECT]")
@click.option("--region", default="", help="Its region [REGION]")
@click.option("--deployment", default="", help="Terraform's deployment_name [DEPLOYMENT_NAME]")
@click.option("--bucket", default="", help="Where facts lie; PROJECT-DEPLOYMENT-runs by default [BUCKET]")
@click.option("--coordinator-url", default="", help="Looked up in Cloud Run by default [COORDINATOR_URL]")
@click.option("--local", is_flag=True, help="The embedded cloud of this machine, whatever the environment names")
@click.option(
    "--local-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Target.local_dir,
    help="Where `make up` keeps its state",
)
@click.option(
    "--prices",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="OPS_PRICES",
    help="Your prices by the hour, as YAML; Google's published ones by default, none on this machine [OPS_PRICES]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts")
@click.pass_obj
def cli(operator: Operator, /, **options: Any) -> None:
    """See and steer the training runs of a deployment.

    The deployment is the one that --project, --region and --deployment (or the environment) name; without them, the
    embedded cloud that `make up` keeps running on this machine. In the cloud your own Google credentials are used.
    RUN is a run's id, a model run's id (its newest run), or the beginning of either.
    """
    operator.take(options)


for _command in (
    *(seeing.runs, seeing.show, seeing.watch, seeing.logs, seeing.report),
    *(steering.train, steering.retry, steering.cancel, steering.replay, steering.clean),
    removing.forget,
    *(planning.pipelines, planning.estimate, planning.doctor, planning.completion),
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None, deployment: Deployment | None = None) -> int:
    """Run one command and return its exit code. `deployment` is handed in by tests."""
    operator = Operator(deployment)
    # The engine's log lines are for Cloud Logging; what an operator must know the commands say themselves.
    logs.redirect(lambda *_line: None)
    try:
        code = cli.main(args=arguments, prog_name="ops", standalone_mode=False, obj=operator)
        return code if isinstance(code, int) else OK
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        operator.screen.fail(error.format_message(), _usage_hint(error), MISUSED)
        return MISUSED
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OpsError as error:
        operator.screen.fail(str(error), error.hint, error.exit_code)
        return error.exit_code
    except ServiceError as error:
        operator.screen.fail(error.sentence, error.hint or "python -m ops doctor says what is wrong", FAILED)
        return FAILED
    except BrokenPipeError:
        return FAILED
    except Exception as error:
        if (known := _of_google(error)) is None:
            raise
        operator.screen.fail(*known, FAILED)
        return FAILED
    finally:
        operator.close()
        logs.redirect(None)


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context else "ops --help"


def _of_google(error: Exception) -> tuple[str, str] | None:
    """What a person needs to know of an error of Google's clients; None for any other."""
    from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound
    from google.auth.exceptions import GoogleAuthError

    if isinstance(error, GoogleAuthError):
        return f"Google Cloud did not let us in: {type(error).__name__}", _CREDENTIALS
    if isinstance(error, NotFound):
        return f"Google Cloud has no such thing: {error.message}", "is the bucket right? python -m ops doctor looks"
    if isinstance(error, Forbidden):
        return f"Google Cloud refused: {error.message}", f"ask for the right, or sign in as another: {_CREDENTIALS}"
    if isinstance(error, GoogleAPIError):
        return f"Google Cloud did not answer: {type(error).__name__}", "python -m ops doctor says what is wrong"
    return None

"""Commands that change something: train, retry, cancel, replay, clean."""

from __future__ import annotations

import getpass
from dataclasses import asdict

import click
from rich.console import RenderableType

from ops.cancelling import cancel as cancel_run
from ops.cleaning import Plan, carry_out, plan, read_age
from ops.dead_letters import DeadLetter, choose, dead_letters, settle
from ops.dead_letters import replay as replay_letter
from ops.deployment import Deployment
from ops.errors import Misuse, OpsError
from ops.names import pairs, pipeline_option, run_argument
from ops.operator import Operator, OpsCommand, pass_operator
from ops.run_lookup import find_run
from ops.screen import table
from ops.seeing import follow
from ops.training_request import ask_training
from ops.watching import COMPLETE
from orchestrator.identities import RunId
from orchestrator.retrying import retry_from
from orchestrator.run import Run

WAIT_LIMIT_S = 1200.0  # cancelling is bounded by the engine after a quarter of an hour


@click.command(cls=OpsCommand)
@click.argument("model_run", metavar="MODEL_RUN")
@pipeline_option(required=True, help="The model type to train.")
@click.option("--model", "model_id", default="", help="Labelbox's id of the model; sent along if given.")
@click.option("--watch", "watches", is_flag=True, help="Follow the run until it ends.")
@pass_operator
def train(operator: Operator, model_run: str, pipeline: str, model_id: str, watches: bool) -> int:
    """Ask for a training as Labelbox does: the signed POST /model_run."""
    return _ask(operator, model_run, pipeline, model_id, watches)


def _ask(operator: Operator, model_run: str, pipeline: str, model_id: str, watches: bool) -> int:
    deployment = operator.deployment
    answer = ask_training(deployment, model_run, pipeline, model_id)
    name, status = str(answer.content.get("runId", "")), str(answer.content.get("status", ""))
    return _began(operator, name, status, is_new=answer.status == 202, watches=watches)


def _began(operator: Operator, name: str, status: str, *, is_new: bool, watches: bool) -> int:
    deployment = operator.deployment
    content = {"run": name, "status": status, "new": is_new}
    text = f"{name} {'accepted' if is_new else f'is {status} already: the request started nothing new'}"
    (operator.screen.line if watches else operator.screen.show)(content, text)
    run_id = RunId.parse(name)
    run = deployment.ledger.load(run_id) if run_id else None
    if not watches:
        return 0
    if run is None:
        raise OpsError(f"{name} is not in bucket {deployment.settings.bucket}", "is this the coordinator's bucket?")
    return follow(operator, run)


@click.command(cls=OpsCommand)
@run_argument
@click.option("--from", "stage", default="", metavar="STAGE", help="Reuse what the stages before this one left.")
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="Another parameter; needs --from.")
@click.option("--watch", "watches", is_flag=True, help="Follow the new run until it ends.")
@pass_operator
def retry(operator: Operator, run: str, stage: str, changes: tuple[str, ...], watches: bool) -> int:
    """Train the model run of an ended run again, as a new run: a failed one from its beginning, or any from a stage."""
    deployment = operator.deployment
    found = find_run(deployment, run)
    if found.finished is None:
        raise OpsError(f"{found.id} is still under way", f"python -m ops cancel {found.id} --wait, then retry")
    if stage:
        following = retry_from(deployment.services.begin(), found.id, stage, pairs(changes, "NAME=VALUE"))
        return _began(operator, str(following), "accepted", is_new=True, watches=watches)
    if changes:
        raise Misuse("--set needs --from", "parameters of a whole new run come from the model run's config in Labelbox")
    if found.finished.outcome == COMPLETE:
        hint = f"python -m ops train {found.accepted.model_run_id} --pipeline {found.accepted.model_type} trains again"
        raise OpsError(f"{found.id} is COMPLETE", hint)
    newest = deployment.ledger.newest_number(found.id.slug)
    if newest > found.id.number:
        raise OpsError(f"{found.id} was followed by {RunId(found.id.slug, newest)}", "retry that one, if it failed")
    if found.accepted.abandoned:
        raise OpsError(f"{found.id} was never accepted", "python -m ops train MODEL_RUN --pipeline PIPELINE")
    accepted = found.accepted
    return _ask(operator, accepted.model_run_id, accepted.model_type, accepted.model_id, watches)


@click.command(cls=OpsCommand)
@run_argument
@click.option("--reason", default="", help="Shown in Labelbox.")
@click.option("--by", default=getpass.getuser, help="Who asks; shown in Labelbox. You, by default.")
@click.option("--wait", "waits", is_flag=True, help="Return once the run has ended.")
@pass_operator
def cancel(operator: Operator, run: str, reason: str, by: str, waits: bool) -> int:
    """Stop a run: its job is cancelled, nothing further is launched, Labelbox shows FAILED with who and why."""
    deployment = operator.deployment
    found = find_run(deployment, run)
    done = None if found.finished else cancel_run(deployment, found, by, reason)
    if done is None:
        ended = find_run(deployment, str(found.id)).finished
        raise OpsError(f"{found.id} is already {ended.outcome if ended else 'over'}", "there is nothing to cancel")
    text = f"{found.id}: cancel requested by {done.by}{' earlier' if done.earlier else ''}"
    (operator.screen.line if waits else operator.screen.show)({"run": str(found.id), **asdict(done)}, text)
    return _wait_for_end(operator, found) if waits else 0


def _wait_for_end(operator: Operator, run: Run) -> int:
    """0 when the run ended as asked; 1 when it completed before the cancel took effect."""
    code = follow(operator, run, limit_s=WAIT_LIMIT_S)
    return 0 if code else 1


@click.command(cls=OpsCommand)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every dead letter.")
@click.option("--dismiss", is_flag=True, help="Do not send them again; only mark them as dealt with.")
@click.option("--settled", is_flag=True, help="List those that were dealt with, too.")
@pass_operator
def replay(operator: Operator, ids: tuple[str, ...], every: bool, dismiss: bool, settled: bool) -> int:
    """List the messages that no function could serve; with IDs or --all, do what they asked for.

    A message of a run under way is sent again. A run that failed for it goes on as a new run, from the stage that did
    not end; what the stages before it left is used again.
    """
    if ids and every:
        raise Misuse("Give IDs or --all, not both", "python -m ops replay lists the IDs")
    deployment = operator.deployment
    letters = list(dead_letters(deployment, settled=settled or bool(ids)))
    if not ids and not every:
        if dismiss:
            raise Misuse("Which dead letters should be dismissed?", "give IDs, or --all")
        operator.screen.show([letter.shown() for letter in letters], *_listed(letters))
        return 0
    chosen = choose(letters, ids) if ids else letters
    if lost := [letter.id for letter in chosen if not letter.topic and not dismiss]:
        raise OpsError(f"Nobody can tell the topic of {', '.join(lost)}", "look at its data, then replay --dismiss it")
    done = [(letter, _dealt_with(deployment, letter, dismiss)) for letter in chosen]
    operator.screen.show(
        [{"id": letter.id, "topic": letter.topic, "done": how} for letter, how in done],
        *([f"{letter.id}  {letter.topic}  {how}" for letter, how in done] or ["no dead letters"]),
    )
    return 0


def _dealt_with(deployment: Deployment, letter: DeadLetter, dismiss: bool) -> str:
    if not dismiss:
        return replay_letter(deployment, letter)
    settle(deployment, letter, "dismissed")
    return "dismissed"


def _listed(letters: list[DeadLetter]) -> list[RenderableType]:
    if not letters:
        return ["no dead letters"]
    columns = ("id", "topic", "published", "run", "reason", "settled")
    rows = [(item.id, item.topic, item.published, item.run, item.reason, item.settled) for item in letters]
    return [
        table("", columns, rows),
        "",
        "python -m ops replay ID... (or --all) sends them again, or goes on with a failed run as a new",
        "one, from the stage that did not end. --dismiss only marks them as dealt with.",
    ]


@click.command(cls=OpsCommand)
@click.option("--older-than", required=True, metavar="AGE", help="Of runs that ended longer ago: 12h, 30d, 8w.")
@click.option("--yes", "sure", is_flag=True, help="Remove; without it only what would be removed is shown.")
@pass_operator
def clean(operator: Operator, older_than: str, sure: bool) -> int:
    """Remove data, data sets and models of old runs. Facts, reports, metrics and versions with an alias stay."""
    deployment = operator.deployment
    planned = plan(deployment, read_age(older_than))
    if sure:
        carry_out(deployment, planned)
    content = {**planned.shown(), "removed": sure}
    operator.screen.show(content, *_planned(planned, sure))
    return 0


def _planned(planned: Plan, removed: bool) -> list[RenderableType]:
    parts: list[RenderableType] = []
    rows = [(str(run.run), f"{run.finished:%Y-%m-%d}", f"{len(run.objects)} objects") for run in planned.runs]
    rows += [(item.name, f"{item.created:%Y-%m-%d}", item.kind) for item in planned.leftovers]
    if rows:
        parts.append(table("removed" if removed else "would be removed", ("what", "of", ""), rows))
    if planned.kept:
        kept = [(item.name, item.kept_for) for item in planned.kept]
        parts.append(table("kept, with the data of their runs", ("what", "why"), kept))
    if planned.is_empty:
        return [*parts, "nothing to remove"]
    return parts if removed else [*parts, "This was a dry run: add --yes to remove it."]

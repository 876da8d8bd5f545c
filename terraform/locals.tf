# Names, times and the map of stages that topics, subscriptions and functions are made of.

locals {
  prefix = var.deployment_name
  labels = merge(var.labels, { lb_deployment = var.deployment_name })

  # Every function that a topic wakes, by the topic's suffix. A stage that is none of etl, train and inference runs
  # on custom, so a pipeline with stages of its own needs nothing here.
  stages = {
    etl         = { entry_point = "etl", launches = true, max_instances = 10 }
    train       = { entry_point = "train", launches = true, max_instances = 10 }
    inference   = { entry_point = "inference", launches = true, max_instances = 10 }
    custom      = { entry_point = "custom", launches = true, max_instances = 10 }
    job-state   = { entry_point = "job_state", launches = false, max_instances = 10 }
    dead-letter = { entry_point = "dead_letter", launches = false, max_instances = 5 }
  }
  stage_topics = toset([for name, stage in local.stages : name if stage.launches])
  # One CPU serves several requests at once, each in a thread of its own; the coordinator's wait for Labelbox.
  functions = merge(
    { for name, stage in local.stages : name => merge(stage, { concurrency = 8 }) },
    { coordinator = { entry_point = "coordinator", launches = false, max_instances = 10, concurrency = 32 } },
  )

  # Each time is shorter than the next: a call ends before its function, the function before Pub/Sub gives up on it,
  # and a claim outlives every delivery that may work under it (docs/decisions/time-chain.md).
  times = {
    call_deadline_s    = 20
    function_timeout_s = 60
    ack_deadline_s     = 90
    claim_hold_s       = 300
  }
  # 10 + 20 + 40 + ... + 600 s: twenty deliveries span more than two hours, so an outage of an hour is survived.
  delivery = {
    minimum_backoff_s = 10
    maximum_backoff_s = 600
    attempts          = 20
  }

  repository = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.jobs.repository_id}"
}

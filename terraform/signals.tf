# What wakes the job-state function: the end of a job in its log, a job's last word in the bucket, and the clock.

# A CustomJob's end shows as a line of its service's log. The words are not promised, and a job could write such a line
# itself, so the function only takes it as a hint. It cannot name our labels: other deployments' lines are ignored there.
resource "google_logging_project_sink" "job_ends" {
  name                   = "${local.prefix}-job-ends"
  description            = "Ends of Vertex custom jobs, to the job-state function"
  destination            = "pubsub.googleapis.com/${google_pubsub_topic.topic["job-state"].id}"
  unique_writer_identity = true
  filter                 = <<-EOT
    resource.type="ml_job"
    resource.labels.task_name="service"
    (textPayload=~"^Job (completed successfully|failed|cancell?ed|was cancell?ed|expired)" OR jsonPayload.message=~"^Job (completed successfully|failed|cancell?ed|was cancell?ed|expired)")
  EOT
  depends_on             = [google_project_service.api, google_pubsub_subscription.push]
}

# Endings, phases and shards of predictions. Facts would wake the function for each of its own writes.
resource "google_storage_notification" "object" {
  for_each           = toset(["endings/", "batch/"])
  bucket             = google_storage_bucket.runs.name
  topic              = google_pubsub_topic.topic["job-state"].id
  payload_format     = "JSON_API_V1"
  event_types        = ["OBJECT_FINALIZE"]
  object_name_prefix = each.key
  depends_on         = [google_pubsub_topic_iam_member.storage_agent, google_pubsub_subscription.push]
}

# To the topic, not over HTTP: the function takes internal traffic only.
resource "google_cloud_scheduler_job" "reconcile" {
  name        = "${local.prefix}-reconcile"
  region      = var.region
  description = "Finds what no event announced"
  schedule    = "*/${var.reconcile_minutes} * * * *"
  time_zone   = "Etc/UTC"

  pubsub_target {
    topic_name = google_pubsub_topic.topic["job-state"].id
    data       = base64encode(jsonencode({ version = 1, kind = "reconcile" }))
  }
  depends_on = [google_project_service.api, google_pubsub_subscription.push]
}

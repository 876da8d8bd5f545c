# What a person is told: alerts on log lines, counters of them, and a dashboard.

locals {
  services = join(" OR ", [for name in keys(local.functions) : "\"${local.prefix}-${name}\""])
  own_logs = "resource.type=\"cloud_run_revision\" resource.labels.service_name=(${local.services})"

  # The words are those of functions/orchestrator; a test compares them.
  alerts = {
    run-failed = {
      severity = "WARNING"
      filter   = "severity>=ERROR jsonPayload.message=\"The run finished\""
      help     = "A run failed. Its reason is in the log line and in Labelbox's error message of the model run."
    }
    dead-letter = {
      severity = "ERROR"
      filter   = "jsonPayload.message=\"A message was kept under dead/\""
      help     = "A message could not be served in all its deliveries. It is kept under dead/ in the bucket, with the reason in the log line."
    }
    reconcile-repaired = {
      severity = "WARNING"
      filter   = "jsonPayload.message=(\"Reconcile goes on with a run\" OR \"Cancelled a job that should not run\" OR \"Closed a request that was never accepted\")"
      help     = "The sweep put right what no event had done. Once is harmless and also how a retry starts; often means that events get lost."
    }
    deployment-broken = {
      severity = "CRITICAL"
      filter   = "severity>=CRITICAL"
      help     = "The deployment cannot work until a person acts, for example because Labelbox refuses the API key. Add a valid version to the secret that the log line names."
    }
  }

  counters = {
    runs-accepted      = { filter = "jsonPayload.message=\"Accepted a run\"", labels = { pipeline = "jsonPayload.pipeline" } }
    runs-finished      = { filter = "jsonPayload.message=\"The run finished\"", labels = { status = "jsonPayload.status" } }
    jobs-ended         = { filter = "jsonPayload.message=\"A job ended\"", labels = { state = "jsonPayload.state" } }
    dead-letters       = { filter = local.alerts.dead-letter.filter, labels = {} }
    reconcile-repaired = { filter = local.alerts.reconcile-repaired.filter, labels = {} }
    messages-refused   = { filter = "jsonPayload.message=(\"Refused a message\" OR \"Unexpected error\")", labels = {} }
  }
}

resource "google_logging_metric" "counter" {
  for_each    = local.counters
  name        = "${local.prefix}-${each.key}"
  description = "Log lines of deployment ${local.prefix}: ${each.key}"
  filter      = "${local.own_logs} ${each.value.filter}"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    dynamic "labels" {
      for_each = each.value.labels
      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }
  label_extractors = { for name, path in each.value.labels : name => "EXTRACT(${path})" }
  depends_on       = [google_project_service.api]
}

resource "google_monitoring_notification_channel" "email" {
  for_each     = var.alert_emails
  display_name = "${local.prefix}: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }
  depends_on   = [google_project_service.api]
}

# On the log lines themselves: a policy on a counter is refused until the counter has counted once.
resource "google_monitoring_alert_policy" "alert" {
  for_each              = local.alerts
  display_name          = "${local.prefix}: ${each.key}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]
  user_labels           = local.labels

  conditions {
    display_name = each.key
    condition_matched_log {
      filter           = "${local.own_logs} ${each.value.filter}"
      label_extractors = { run = "EXTRACT(jsonPayload.run)" }
    }
  }
  alert_strategy {
    auto_close = "86400s"
    notification_rate_limit {
      period = "900s"
    }
  }
  documentation {
    content   = each.value.help
    mime_type = "text/markdown"
  }
  depends_on = [google_project_service.api]
}

resource "google_monitoring_dashboard" "this" {
  dashboard_json = jsonencode({
    displayName = "Model training: ${local.prefix}"
    labels      = { lb_deployment = local.prefix }
    gridLayout = {
      columns = "2"
      widgets = concat(
        [for name, counter in local.counters : {
          title = replace(name, "-", " ")
          xyChart = { dataSets = [{
            plotType = "STACKED_BAR"
            timeSeriesQuery = { timeSeriesFilter = {
              filter = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.counter[name].name}\" resource.type=\"cloud_run_revision\""
              aggregation = {
                alignmentPeriod    = "3600s"
                perSeriesAligner   = "ALIGN_SUM"
                crossSeriesReducer = "REDUCE_SUM"
                groupByFields      = [for label in keys(counter.labels) : "metric.label.${label}"]
              }
            } }
          }] }
        }],
        [{
          title = "oldest unserved message (s)"
          xyChart = { dataSets = [{
            plotType = "LINE"
            timeSeriesQuery = { timeSeriesFilter = {
              filter = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" resource.type=\"pubsub_subscription\" resource.label.subscription_id=one_of(${join(", ", [for s in google_pubsub_subscription.push : "\"${s.name}\""])})"
              aggregation = {
                alignmentPeriod    = "300s"
                perSeriesAligner   = "ALIGN_MAX"
                crossSeriesReducer = "REDUCE_MAX"
                groupByFields      = ["resource.label.subscription_id"]
              }
            } }
          }] }
        }],
      )
    }
  })
  depends_on = [google_project_service.api]
}

# ---- logs in the deployment's region

resource "google_logging_project_bucket_config" "logs" {
  for_each       = toset(var.log_retention_days == null ? [] : [var.region])
  project        = var.project_id
  location       = each.key
  bucket_id      = "${local.prefix}-logs"
  retention_days = var.log_retention_days
  description    = "Logs of the model training deployment ${local.prefix}"
  depends_on     = [google_project_service.api]
}

# Jobs' lines name no deployment, so all of the project's Vertex jobs are kept.
resource "google_logging_project_sink" "logs" {
  for_each               = google_logging_project_bucket_config.logs
  name                   = "${local.prefix}-logs"
  destination            = "logging.googleapis.com/${each.value.id}"
  unique_writer_identity = true
  filter                 = "(${local.own_logs}) OR resource.type=\"ml_job\""
}

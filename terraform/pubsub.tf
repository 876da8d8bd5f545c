# Topics, and one push subscription for each: Pub/Sub wakes the functions.

resource "google_pubsub_topic" "topic" {
  for_each     = local.stages
  name         = "${local.prefix}-${each.key}"
  kms_key_name = local.kms_key

  # What is in a message stays in the region, wherever it is published from.
  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }
  depends_on = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
}

resource "google_pubsub_subscription" "push" {
  for_each = local.stages
  name     = "${google_pubsub_topic.topic[each.key].name}-push"
  topic    = google_pubsub_topic.topic[each.key].id

  ack_deadline_seconds       = local.times.ack_deadline_s
  message_retention_duration = "${7 * 24 * 3600}s"

  # Never: a deployment that rests for a month must still wake.
  expiration_policy {
    ttl = ""
  }

  # The service's own address, not the cloudfunctions.net one: Cloud Run compares the token's audience with it.
  push_config {
    push_endpoint = google_cloudfunctions2_function.function[each.key].service_config[0].uri
    oidc_token {
      service_account_email = google_service_account.account["push"].email
      audience              = google_cloudfunctions2_function.function[each.key].service_config[0].uri
    }
  }

  retry_policy {
    minimum_backoff = "${local.delivery.minimum_backoff_s}s"
    maximum_backoff = "${local.delivery.maximum_backoff_s}s"
  }

  # A dead letter that cannot be served is tried until its seven days are over: a policy here would send it in circles.
  dynamic "dead_letter_policy" {
    for_each = each.key == "dead-letter" ? [] : [local.delivery.attempts]
    content {
      dead_letter_topic     = google_pubsub_topic.topic["dead-letter"].id
      max_delivery_attempts = dead_letter_policy.value
    }
  }
  depends_on = [google_cloud_run_v2_service_iam_member.push, google_pubsub_topic_iam_member.dead_letters]
}

# The functions: plain HTTP functions of one source, each with an entry point of its own.

locals {
  # Read by functions/orchestrator/settings.py; docs/settings.md says what each means.
  settings = {
    GOOGLE_CLOUD_PROJECT        = var.project_id
    REGION                      = var.region
    DEPLOYMENT_NAME             = var.deployment_name
    BUCKET                      = google_storage_bucket.runs.name
    JOB_SERVICE_ACCOUNT         = google_service_account.account["jobs"].email
    IMAGE_REPOSITORY            = local.repository
    IMAGE_TAG                   = var.image_tag
    LABELBOX_ENDPOINT           = var.labelbox_endpoint
    LABELBOX_API_KEY_SECRET     = google_secret_manager_secret.secret["labelbox-api-key"].secret_id
    SERVICE_SECRET_SECRET       = google_secret_manager_secret.secret["signing-secret"].secret_id
    ALLOWED_MACHINES            = join(",", sort(var.limits.machines))
    ALLOWED_ACCELERATORS        = join(",", sort(var.limits.accelerators))
    MAX_ACCELERATORS            = tostring(var.limits.max_accelerators)
    MAX_AUTOML_MILLI_NODE_HOURS = tostring(var.limits.max_automl_milli_node_hours)
    MAX_ACTIVE_RUNS             = tostring(var.limits.max_active_runs)
    MAX_RUNS_PER_DAY            = tostring(var.limits.max_runs_per_day)
    CALL_DEADLINE_S             = tostring(local.times.call_deadline_s)
    FUNCTION_TIMEOUT_S          = tostring(local.times.function_timeout_s)
    ACK_DEADLINE_S              = tostring(local.times.ack_deadline_s)
    CLAIM_HOLD_S                = tostring(local.times.claim_hold_s)
    RECONCILE_PERIOD_S          = tostring(60 * var.reconcile_minutes)
  }
  # Only where a deployment chose them.
  optional_settings = {
    DATA_BUCKETS    = join(",", sort(var.data_buckets))
    RESOURCE_LABELS = join(",", [for key, value in var.labels : "${key}=${value}"])
    JOB_NETWORK     = var.network == null ? "" : var.network.network
    KMS_KEY_NAME    = var.kms_key_name
    MAX_JOB_HOURS   = var.limits.max_job_hours == null ? "" : tostring(var.limits.max_job_hours)
    MAX_RUN_HOURS   = var.limits.max_run_hours == null ? "" : tostring(var.limits.max_run_hours)
    MAX_JOB_COST    = var.limits.max_job_cost == null ? "" : tostring(var.limits.max_job_cost)
    MAX_RUN_COST    = var.limits.max_run_cost == null ? "" : tostring(var.limits.max_run_cost)
    HOURLY_PRICES   = join(",", [for resource, price in var.limits.hourly_prices : "${resource}=${price}"])
  }
  environment = merge(local.settings, { for name, value in local.optional_settings : name => value if value != "" })
}

resource "google_cloudfunctions2_function" "function" {
  # checkov:skip=CKV_GCP_124:Only the coordinator is open, because Labelbox calls it from the internet; each request is signed. public_access closes it.
  for_each     = local.functions
  name         = "${local.prefix}-${each.key}"
  location     = var.region
  description  = "Model training for Labelbox: ${each.value.entry_point}"
  kms_key_name = local.kms_key

  build_config {
    runtime           = "python313"
    entry_point       = each.value.entry_point
    service_account   = google_service_account.account["build"].id
    docker_repository = google_artifact_registry_repository.functions.id
    source {
      storage_source {
        bucket = google_storage_bucket_object.bundle.bucket
        object = google_storage_bucket_object.bundle.name
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.account[each.key == "coordinator" ? "coordinator" : "stages"].email
    timeout_seconds                  = local.times.function_timeout_s
    available_cpu                    = "1"
    available_memory                 = "512Mi"
    min_instance_count               = 0
    max_instance_count               = each.value.max_instances
    max_instance_request_concurrency = each.value.concurrency
    all_traffic_on_latest_revision   = true
    ingress_settings                 = each.key != "coordinator" ? "ALLOW_INTERNAL_ONLY" : var.public_access ? "ALLOW_ALL" : "ALLOW_INTERNAL_AND_GCLB"
    direct_vpc_egress                = var.network == null ? null : var.network.egress
    # THREADS is the framework's own: https://github.com/GoogleCloudPlatform/functions-framework-python
    environment_variables = merge(local.environment, { THREADS = tostring(each.value.concurrency) })

    dynamic "direct_vpc_network_interface" {
      for_each = var.network == null ? [] : [var.network]
      content {
        network    = direct_vpc_network_interface.value.network
        subnetwork = direct_vpc_network_interface.value.subnetwork
      }
    }
  }

  # The build needs its grants, and a function that starts must find what its settings name.
  depends_on = [
    google_project_service.api,
    google_project_iam_member.build_logs,
    google_project_iam_member.build_sources,
    google_artifact_registry_repository_iam_member.build,
    google_storage_bucket_iam_member.build,
    google_kms_crypto_key_iam_member.agent,
  ]
}

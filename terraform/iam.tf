# Who may do what: one grant a line, on the resource wherever it can be granted there. docs/security.md has the table with
# the reasons; a test compares it with the plan. Only additive members: nothing here takes a grant from anybody.

locals {
  member         = { for name, account in google_service_account.account : name => account.member }
  pubsub_agent   = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  objects_prefix = "projects/_/buckets/${google_storage_bucket.runs.name}/objects/"

  # Folders of the bucket by account. A job's container runs what came with somebody's data, so it cannot touch facts.
  folder_grants = {
    coordinator-writes = { account = "coordinator", role = "roles/storage.objectUser", folders = ["facts/", "active/"] }
    stages-write       = { account = "stages", role = "roles/storage.objectUser", folders = ["facts/", "active/", "dead/"] }
    stages-read        = { account = "stages", role = "roles/storage.objectViewer", folders = ["endings/"] }
    jobs-write         = { account = "jobs", role = "roles/storage.objectUser", folders = ["data/", "endings/", "images/", "reports/"] }
    jobs-read          = { account = "jobs", role = "roles/storage.objectViewer", folders = ["batch/"] }
  }

  secret_readers = {
    coordinator-signing-secret   = { account = "coordinator", secret = "signing-secret" }
    coordinator-labelbox-api-key = { account = "coordinator", secret = "labelbox-api-key" }
    stages-labelbox-api-key      = { account = "stages", secret = "labelbox-api-key" }
    jobs-labelbox-api-key        = { account = "jobs", secret = "labelbox-api-key" }
  }
}

# ---- the bucket

resource "google_storage_bucket_iam_member" "folder" {
  for_each = local.folder_grants
  bucket   = google_storage_bucket.runs.name
  role     = each.value.role
  member   = local.member[each.value.account]
  condition {
    title       = each.key
    description = "Only ${join(", ", each.value.folders)}"
    expression  = join(" || ", [for folder in each.value.folders : "resource.name.startsWith(\"${local.objects_prefix}${folder}\")"])
  }
}

# Listing is a right on the bucket, which a condition on objects' names cannot give. It shows names, not contents.
resource "google_storage_bucket_iam_member" "list" {
  for_each = toset(["coordinator", "stages", "jobs"])
  bucket   = google_storage_bucket.runs.name
  role     = "roles/storage.legacyBucketReader"
  member   = local.member[each.key]
}

resource "google_storage_bucket_iam_member" "report" {
  for_each = var.report_readers
  bucket   = google_storage_bucket.runs.name
  role     = "roles/storage.objectViewer"
  member   = each.key
  condition {
    title       = "reports"
    description = "Only the runs' reports"
    expression = join(" || ", [
      "resource.name.startsWith(\"${local.objects_prefix}reports/\")",
      "(resource.name.startsWith(\"${local.objects_prefix}data/\") && resource.name.endsWith(\"/report.html\"))",
    ])
  }
}

resource "google_storage_bucket_iam_member" "data_bucket" {
  for_each = var.data_buckets
  bucket   = each.key
  role     = "roles/storage.objectViewer"
  member   = local.member["jobs"]
}

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.sources.name
  role   = "roles/storage.objectViewer"
  member = local.member["build"]
}

# Cloud Functions first copies the bundle to a bucket of its own, which it makes with the first function of a region, and
# the build reads that copy: a grant on the bucket could not be there before it. With a key the bucket's name goes on.
# https://github.com/hashicorp/terraform-provider-google/issues/20571 shows the refusal without this grant.
resource "google_project_iam_member" "build_sources" {
  project = var.project_id
  role    = "roles/storage.objectViewer"
  member  = local.member["build"]
  condition {
    title       = "function-sources"
    description = "Only the copies of the functions' sources"
    expression = join("", [
      "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${data.google_project.this.number}-${var.region}",
      var.kms_key_name == "" ? "/objects/${local.prefix}-" : "-", "\")",
    ])
  }
}

# ---- topics and subscriptions

# The first event of a run: only to the topics at which an enabled pipeline starts.
resource "google_pubsub_topic_iam_member" "coordinator" {
  for_each = local.first_topics
  topic    = google_pubsub_topic.topic[each.key].name
  role     = "roles/pubsub.publisher"
  member   = local.member["coordinator"]
}

# Every further event. Runs of a pipeline that is disabled meanwhile go on, so this does not depend on what is enabled.
resource "google_pubsub_topic_iam_member" "stages" {
  for_each = local.stage_topics
  topic    = google_pubsub_topic.topic[each.key].name
  role     = "roles/pubsub.publisher"
  member   = local.member["stages"]
}

resource "google_pubsub_topic_iam_member" "log_sink" {
  topic  = google_pubsub_topic.topic["job-state"].name
  role   = "roles/pubsub.publisher"
  member = google_logging_project_sink.job_ends.writer_identity
}

data "google_storage_project_service_account" "this" {}

resource "google_pubsub_topic_iam_member" "storage_agent" {
  topic  = google_pubsub_topic.topic["job-state"].name
  role   = "roles/pubsub.publisher"
  member = "serviceAccount:${data.google_storage_project_service_account.this.email_address}"
}

# Pub/Sub itself moves what cannot be delivered: it publishes there and takes it off here.
resource "google_pubsub_topic_iam_member" "dead_letters" {
  topic  = google_pubsub_topic.topic["dead-letter"].name
  role   = "roles/pubsub.publisher"
  member = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each     = toset([for name in keys(local.stages) : name if name != "dead-letter"])
  subscription = google_pubsub_subscription.push[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

# ---- functions

resource "google_cloud_run_v2_service_iam_member" "push" {
  for_each = local.stages
  location = var.region
  name     = google_cloudfunctions2_function.function[each.key].name
  role     = "roles/run.invoker"
  member   = local.member["push"]

  # A function that is made anew has a service without grants.
  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.function[each.key].id]
  }
}

# Labelbox cannot send Google's tokens: the signature of each request is checked in the code.
resource "google_cloud_run_v2_service_iam_member" "public" {
  # checkov:skip=CKV_GCP_102:Labelbox has no Google account; every request but GET /ping must carry a valid signature.
  for_each = toset(var.public_access ? ["allUsers"] : [])
  location = var.region
  name     = google_cloudfunctions2_function.function["coordinator"].name
  role     = "roles/run.invoker"
  member   = each.key

  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.function["coordinator"].id]
  }
  # The door opens last: a run that is accepted finds the whole way.
  depends_on = [
    google_pubsub_subscription.push,
    google_pubsub_topic_iam_member.coordinator,
    google_pubsub_topic_iam_member.stages,
    google_storage_bucket_iam_member.folder,
    google_storage_bucket_iam_member.list,
    google_secret_manager_secret_iam_member.reader,
  ]
}

# ---- secrets

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each  = local.secret_readers
  secret_id = google_secret_manager_secret.secret[each.value.secret].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = local.member[each.value.account]
}

resource "google_secret_manager_secret_iam_member" "job_secret" {
  for_each  = var.job_secrets
  secret_id = each.key
  role      = "roles/secretmanager.secretAccessor"
  member    = local.member["jobs"]
}

# ---- Vertex AI

resource "google_project_iam_member" "vertex_stages" {
  # checkov:skip=CKV_GCP_117:The role is a variable's, which checkov cannot read; the variable takes no basic role.
  project = var.project_id
  role    = var.vertex_roles.stages
  member  = local.member["stages"]
}

# Jobs make the data sets of AutoML and register models. Not by what is enabled: a run of a pipeline that is disabled
# meanwhile goes on.
resource "google_project_iam_member" "vertex_jobs" {
  for_each = toset(compact([var.vertex_roles.jobs]))
  project  = var.project_id
  role     = each.key
  member   = local.member["jobs"]
}

resource "google_service_account_iam_member" "act_as_jobs" {
  service_account_id = google_service_account.account["jobs"].name
  role               = "roles/iam.serviceAccountUser"
  member             = local.member["stages"]
}

# ---- images and builds

# Tags are resolved to digests before a run's first launch.
resource "google_artifact_registry_repository_iam_member" "stages" {
  location   = google_artifact_registry_repository.jobs.location
  repository = google_artifact_registry_repository.jobs.repository_id
  role       = "roles/artifactregistry.reader"
  member     = local.member["stages"]
}

resource "google_artifact_registry_repository_iam_member" "build" {
  for_each = {
    jobs      = google_artifact_registry_repository.jobs.repository_id
    functions = google_artifact_registry_repository.functions.repository_id
  }
  location   = var.region
  repository = each.value
  role       = "roles/artifactregistry.writer"
  member     = local.member["build"]
}

# Cloud Build's logs have no smaller place to be granted on than the project.
resource "google_project_iam_member" "build_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = local.member["build"]
}

# ---- the customer's own key

locals {
  kms_key = var.kms_key_name == "" ? null : var.kms_key_name
  # https://cloud.google.com/kms/docs/cmek-best-practices: each service encrypts as its own agent.
  kms_agents = var.kms_key_name == "" || !var.grant_kms_key ? [] : [
    "gcp-sa-pubsub", "gs-project-accounts", "gcp-sa-artifactregistry", "gcp-sa-secretmanager", "gcf-admin-robot",
    "serverless-robot-prod", "gcp-sa-aiplatform",
  ]
}

resource "google_kms_crypto_key_iam_member" "agent" {
  for_each      = toset(local.kms_agents)
  crypto_key_id = var.kms_key_name
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:service-${data.google_project.this.number}@${each.key}.iam.gserviceaccount.com"
  depends_on    = [google_project_service.api]
}

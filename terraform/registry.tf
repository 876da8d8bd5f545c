# Images: one repository for the jobs' images that you build, one for the functions' images that Google builds.
# Two, so that nobody who pushes a job image can replace a function.

resource "google_artifact_registry_repository" "jobs" {
  location      = var.region
  repository_id = "${local.prefix}-jobs"
  description   = "Job images of the model training deployment ${local.prefix}"
  format        = "DOCKER"
  kms_key_name  = local.kms_key

  # Runs under way name images by digest: only what no tag names and is old may go.
  cleanup_policies {
    id     = "delete-old-untagged"
    action = "DELETE"
    condition {
      tag_state  = "UNTAGGED"
      older_than = "${90 * 24 * 3600}s"
    }
  }
  depends_on = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
}

resource "google_artifact_registry_repository" "functions" {
  location      = var.region
  repository_id = "${local.prefix}-functions"
  description   = "Images of the functions of deployment ${local.prefix}, built by Cloud Functions"
  format        = "DOCKER"
  kms_key_name  = local.kms_key
  depends_on    = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
}

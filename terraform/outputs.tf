# What to do next, in the order in which it is done.

output "secret_commands" {
  description = "Put the two secrets in: each command reads the value from standard input, so it stays out of the shell's history and of Terraform's state."
  value = {
    for name, secret in google_secret_manager_secret.secret :
    name => "gcloud secrets versions add ${secret.secret_id} --project=${var.project_id} --data-file=-"
  }
}

output "build_command" {
  description = "Build and push every job image, in the repository's root."
  value = join(" ", [
    "gcloud builds submit --config=cloudbuild.yaml --project=${var.project_id} --region=${var.region}",
    "--service-account=${google_service_account.account["build"].id}",
    "--gcs-source-staging-dir=${google_storage_bucket.sources.url}/builds",
    "--substitutions=_REPOSITORY=${local.repository},_TAG=${var.image_tag} .",
  ])
}

output "labelbox_url" {
  description = "The URL to paste into Labelbox, which appends models and model_run."
  value       = "${google_cloudfunctions2_function.function["coordinator"].service_config[0].uri}/"
  depends_on  = [google_cloud_run_v2_service_iam_member.public]
}

output "bucket" {
  description = "The bucket of facts, data, models and reports."
  value       = google_storage_bucket.runs.name
}

output "job_service_account" {
  description = "The account that jobs run as: grant it what your own jobs need."
  value       = google_service_account.account["jobs"].email
}

# The page of logs takes a + as it is, which urlencode writes for a blank.
output "console_links" {
  description = "Where to look."
  value = {
    dashboard = "https://console.cloud.google.com/monitoring/dashboards?project=${var.project_id}"
    logs      = "https://console.cloud.google.com/logs/query;query=${replace(urlencode(local.own_logs), "+", "%20")}?project=${var.project_id}"
    jobs      = "https://console.cloud.google.com/vertex-ai/training/custom-jobs?project=${var.project_id}"
    bucket    = "https://console.cloud.google.com/storage/browser/${google_storage_bucket.runs.name}?project=${var.project_id}"
    images    = "https://console.cloud.google.com/artifacts/docker/${var.project_id}/${var.region}/${google_artifact_registry_repository.jobs.repository_id}?project=${var.project_id}"
  }
}

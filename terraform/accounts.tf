# Service accounts, one for each kind of work. What they may do stands in iam.tf.

resource "google_service_account" "account" {
  for_each = {
    coordinator = "Takes Labelbox's requests and starts runs"
    stages      = "Launches, watches and finishes the jobs of runs"
    jobs        = "What the containers of Vertex jobs run as"
    push        = "Signs Pub/Sub's pushes to the functions"
    build       = "Builds the functions and the job images"
  }
  account_id   = "${local.prefix}-${each.key}"
  display_name = "${local.prefix} ${each.key}"
  description  = each.value
  depends_on   = [google_project_service.api]
}

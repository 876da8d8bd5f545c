# Promises of the plan. Needs no account and no credentials: terraform -chdir=terraform init && terraform -chdir=terraform test

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
  mock_data "google_storage_project_service_account" {
    defaults = { email_address = "service-123456789012@gs-project-accounts.iam.gserviceaccount.com" }
  }
  mock_resource "google_service_account" {
    defaults = {
      email  = "account@my-project.iam.gserviceaccount.com"
      member = "serviceAccount:account@my-project.iam.gserviceaccount.com"
      name   = "projects/my-project/serviceAccounts/account@my-project.iam.gserviceaccount.com"
    }
  }
  mock_resource "google_logging_project_sink" {
    defaults = { writer_identity = "serviceAccount:service-123456789012@gcp-sa-logging.iam.gserviceaccount.com" }
  }
}

variables {
  project_id = "my-project"
}

run "defaults" {
  command = plan

  assert {
    condition     = alltrue([for name, f in google_cloudfunctions2_function.function : f.service_config[0].ingress_settings == (name == "coordinator" ? "ALLOW_ALL" : "ALLOW_INTERNAL_ONLY")])
    error_message = "Only the coordinator may be reached from outside."
  }
  assert {
    condition     = keys(google_cloud_run_v2_service_iam_member.public) == ["allUsers"]
    error_message = "Labelbox must reach the coordinator."
  }
  assert {
    condition = alltrue([
      for f in google_cloudfunctions2_function.function :
      tonumber(f.service_config[0].environment_variables.CALL_DEADLINE_S) < f.service_config[0].timeout_seconds
      && f.service_config[0].timeout_seconds < google_pubsub_subscription.push["etl"].ack_deadline_seconds
      && google_pubsub_subscription.push["etl"].ack_deadline_seconds < tonumber(f.service_config[0].environment_variables.CLAIM_HOLD_S)
    ])
    error_message = "A call must end before its function, the function before the ack deadline, the ack deadline before the claim."
  }
  assert {
    condition     = length(google_pubsub_subscription.push["dead-letter"].dead_letter_policy) == 0
    error_message = "Dead letters must not go in circles."
  }
  assert {
    condition     = google_storage_bucket.runs.force_destroy == false
    error_message = "Runs' data must survive a careless destroy."
  }
}

run "closed_to_the_internet" {
  command = plan
  variables {
    public_access = false
  }
  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.public) == 0
    error_message = "Nobody but a load balancer's caller may get in."
  }
  assert {
    condition     = google_cloudfunctions2_function.function["coordinator"].service_config[0].ingress_settings == "ALLOW_INTERNAL_AND_GCLB"
    error_message = "The coordinator must take the load balancer's traffic only."
  }
}

run "region_without_automl" {
  command = plan
  variables {
    region = "europe-north1"
  }
  expect_failures = [var.region]
}

run "region_without_automl_and_without_need" {
  command = plan
  variables {
    region            = "europe-north1"
    enabled_pipelines = ["text_single_classification"]
  }
  assert {
    condition     = google_storage_bucket.runs.location == "europe-north1" || google_storage_bucket.runs.location == "EUROPE-NORTH1"
    error_message = "Everything must be in the one region."
  }
}

run "unknown_pipeline" {
  command = plan
  variables {
    enabled_pipelines = ["no_such_pipeline"]
  }
  expect_failures = [var.enabled_pipelines]
}

run "unknown_parameter" {
  command = plan
  variables {
    pipeline_defaults = { text_single_classification = { no_such_parameter = 1 } }
  }
  expect_failures = [var.pipeline_defaults]
}

# The values that tests/terraform/test_agreement.py has the code judge, too.
run "values_that_parameters_do_not_take" {
  command = plan
  variables {
    pipeline_defaults = {
      ner = { backbone = "hf:../x" }
      text_single_classification = {
        minimum_examples = 1.5
        several_labels   = "all"
        strict_classes   = 3
        seed             = -1
        machine          = 5
        threshold        = "2"
      }
    }
  }
  assert {
    condition     = length(local.wrong_defaults) == 7
    error_message = "Each of the seven must be told: ${join("; ", local.wrong_defaults)}"
  }
  expect_failures = [google_storage_bucket_object.bundle, check.machines]
}

run "values_that_parameters_take" {
  command = plan
  variables {
    pipeline_defaults = {
      ner = { backbone = "hf:modernbert-base" }
      text_single_classification = {
        minimum_examples = 20
        several_labels   = "skip"
        strict_classes   = true
        seed             = 0
        machine          = "e2-standard-4"
        threshold        = 0.5
      }
    }
  }
  assert {
    condition     = length(local.wrong_defaults) == 0
    error_message = "None may be refused: ${join("; ", local.wrong_defaults)}"
  }
}

run "bad_values" {
  command = plan
  variables {
    deployment_name   = "A"
    labelbox_endpoint = "https://"
    reconcile_minutes = 7
    kms_key_name      = "projects/p/locations/elsewhere/keyRings/r/cryptoKeys/k"
    report_readers    = ["allUsers"]
    retention_days    = { data = 3 }
    labels            = { lb_attempt = "x" }
    vertex_roles      = { stages = "roles/editor" }
    alert_emails      = ["nobody"]
    image_tag         = "a:b"
    network           = { network = "projects/my-project/global/networks/default", subnetwork = "s" }
    limits            = { max_active_runs = -1 }
  }
  expect_failures = [
    var.deployment_name, var.labelbox_endpoint, var.reconcile_minutes, var.kms_key_name,
    var.report_readers, var.retention_days, var.labels, var.vertex_roles,
    var.alert_emails, var.image_tag, var.network, var.limits,
  ]
}

# Apart from the values above, because these are only looked at where the region and the name are good.
run "more_bad_values" {
  command = plan
  variables {
    data_buckets   = ["gs://with-scheme"]
    job_secrets    = ["projects/p/secrets/s"]
    automl_regions = ["us-central1", "us"]
  }
  expect_failures = [var.data_buckets, var.job_secrets, var.automl_regions]
}

run "limits_that_no_run_can_keep" {
  command = plan
  variables {
    enabled_pipelines = ["ner"]
    limits            = { machines = ["e2-standard-4"] }
  }
  expect_failures = [check.machines]
}

run "a_cap_without_prices" {
  command = plan
  variables {
    limits = { max_run_cost = 100 }
  }
  expect_failures = [var.limits]
}

run "names_that_google_keeps_for_itself" {
  command = plan
  variables {
    deployment_name = "google-labels"
    limits          = { machines = ["e2-standard-4,n1-standard-4"], accelerators = ["nvidia-tesla-t4"] }
  }
  expect_failures = [var.deployment_name, var.limits]
}

run "a_job_never_reads_the_signing_secret" {
  command = plan
  variables {
    job_secrets = ["model-training-signing-secret"]
  }
  expect_failures = [var.job_secrets]
}

run "a_job_never_reads_the_facts_nor_gets_a_grant_twice" {
  command = plan
  variables {
    data_buckets = ["my-project-model-training-runs"]
    job_secrets  = ["model-training-labelbox-api-key"]
  }
  expect_failures = [var.data_buckets, var.job_secrets]
}

run "one_key_for_two_deployments" {
  command = plan
  variables {
    kms_key_name  = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    grant_kms_key = false
  }
  assert {
    condition     = length(google_kms_crypto_key_iam_member.agent) == 0
    error_message = "A grant that two deployments hold would be gone for both when one is destroyed."
  }
  assert {
    condition     = google_pubsub_topic.topic["etl"].kms_key_name == var.kms_key_name
    error_message = "The key must be used all the same."
  }
}

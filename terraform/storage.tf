# The bucket of facts and data, and the bucket of sources.

locals {
  # Everything that a run leaves behind, except its facts and its active marker, which never expire.
  expiring = { for folder, days in var.retention_days : folder => days if days > 0 }
}

resource "google_storage_bucket" "runs" {
  # checkov:skip=CKV_GCP_78:Facts are write-once and never rewritten; versions would only keep deleted data longer. Soft delete covers mistakes.
  # checkov:skip=CKV_GCP_62:Who read what is in Cloud Audit Logs where a company turns data access logs on; usage logs would need a further public-writer bucket.
  name                        = "${var.project_id}-${local.prefix}-runs"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.delete_data_on_destroy

  versioning {
    enabled = false
  }

  soft_delete_policy {
    retention_duration_seconds = 7 * 24 * 3600
  }

  dynamic "lifecycle_rule" {
    for_each = local.expiring
    content {
      action {
        type = "Delete"
      }
      # Images are shared by runs: their days count from the last run that used them, which marks them (customTime).
      condition {
        age                    = lifecycle_rule.key == "images" ? null : lifecycle_rule.value
        days_since_custom_time = lifecycle_rule.key == "images" ? lifecycle_rule.value : null
        matches_prefix         = ["${lifecycle_rule.key}/"]
      }
    }
  }

  dynamic "encryption" {
    for_each = compact([var.kms_key_name])
    content {
      default_kms_key_name = encryption.value
    }
  }
  depends_on = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
}

# Apart from the runs, so that the account that builds sees sources only.
resource "google_storage_bucket" "sources" {
  # checkov:skip=CKV_GCP_78:Each bundle is named by its content, so no object is ever replaced.
  # checkov:skip=CKV_GCP_62:Holds the published source of the functions only.
  name                        = "${var.project_id}-${local.prefix}-sources"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  # Uploads of gcloud builds submit. The bundles that the functions were made of are kept.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 30
      matches_prefix = ["builds/"]
    }
  }

  dynamic "encryption" {
    for_each = compact([var.kms_key_name])
    content {
      default_kms_key_name = encryption.value
    }
  }
  depends_on = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
}

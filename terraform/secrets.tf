# Secrets, created empty: their values are added by gcloud and never pass through Terraform's state.

locals {
  secrets = {
    labelbox-api-key = "Key of Labelbox's API"
    signing-secret   = "What Labelbox signs its requests with"
  }
}

resource "google_secret_manager_secret" "secret" {
  for_each            = local.secrets
  secret_id           = "${local.prefix}-${each.key}"
  annotations         = { purpose = each.value }
  deletion_protection = false

  replication {
    user_managed {
      replicas {
        location = var.region
        dynamic "customer_managed_encryption" {
          for_each = compact([var.kms_key_name])
          content {
            kms_key_name = customer_managed_encryption.value
          }
        }
      }
    }
  }
  depends_on = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
}

# What a deployment may choose, in alphabetical order. Only project_id has no default.

variable "alert_emails" {
  description = "E-mail addresses that alerts go to. Without one, alerts show in the console only."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "Each of alert_emails must be an e-mail address."
  }
}

variable "automl_regions" {
  description = "Regions in which AutoML image training is offered. Extend it when Google's page of locations names yours: https://cloud.google.com/vertex-ai/docs/general/locations"
  type        = set(string)
  default     = ["us-central1", "europe-west4"]

  validation {
    condition     = alltrue([for region in var.automl_regions : can(regex("^[a-z]+-[a-z]+[0-9]+$", region))])
    error_message = "Each of automl_regions must be a single region such as us-central1."
  }
}

variable "data_buckets" {
  description = "Buckets of your own whose objects data rows may name (gs://...). The jobs' account may read these and no others; the one who applies must be allowed to grant that."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for bucket in var.data_buckets : can(regex("^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$", bucket))])
    error_message = "Each of data_buckets must be a bucket's bare name, without gs://."
  }

  validation {
    condition = alltrue([
      for kind in ["runs", "sources"] : !contains(var.data_buckets, "${var.project_id}-${var.deployment_name}-${kind}")
    ])
    error_message = "data_buckets must not name this deployment's own buckets: a job would read the facts of all runs."
  }
}

variable "delete_data_on_destroy" {
  description = "Let terraform destroy delete the bucket with every run's facts, data and models in it. While false, destroy stops at a bucket that is not empty."
  type        = bool
  default     = false
}

variable "deployment_name" {
  description = "Prefix of everything that is made, so that several deployments live in one project."
  type        = string
  default     = "model-training"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,16}[a-z0-9]$", var.deployment_name)) && !strcontains(var.deployment_name, "--")
    error_message = "deployment_name must have 2 to 18 characters of a-z, 0-9 and single hyphens, and start with a letter: service accounts allow no longer names."
  }

  validation {
    condition     = !startswith(var.deployment_name, "goog") && !strcontains(var.deployment_name, "google")
    error_message = "deployment_name must not start with goog nor hold google: Pub/Sub and Cloud Storage keep such names for themselves."
  }
}

variable "enable_apis" {
  description = "Enable the APIs that a deployment needs. False where the project's owners do that, or another deployment's configuration already does."
  type        = bool
  default     = true
}

variable "enabled_pipelines" {
  description = "Model types that are offered to Labelbox; null for every file in functions/pipelines/."
  type        = set(string)
  default     = null

  validation {
    condition     = alltrue([for name in coalesce(var.enabled_pipelines, []) : contains(keys(local.pipeline_paths), name)])
    error_message = "enabled_pipelines names a pipeline that has no file in functions/pipelines/. There are: ${join(", ", keys(local.pipeline_paths))}."
  }

  validation {
    condition     = var.enabled_pipelines == null ? true : length(var.enabled_pipelines) > 0
    error_message = "enabled_pipelines must name at least one pipeline; leave it out to enable all."
  }
}

variable "grant_kms_key" {
  description = "Grant kms_key_name to the agents of the services that encrypt with it. False where its owners do that, or another deployment with the same key: a grant that two hold is gone for both when one is destroyed."
  type        = bool
  default     = true
}

variable "image_tag" {
  description = "Tag of the job images that new runs use. A run keeps the images it was accepted with."
  type        = string
  default     = "latest"

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", var.image_tag))
    error_message = "image_tag must be a valid image tag."
  }
}

variable "job_secrets" {
  description = "Ids of further secrets of this project that jobs of your own may read. Never the signing secret: a job runs on other people's data."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for secret in var.job_secrets : can(regex("^[A-Za-z0-9_-]{1,255}$", secret))])
    error_message = "Each of job_secrets must be a secret's bare id, without projects/ and versions/."
  }

  validation {
    condition     = !contains(var.job_secrets, "${var.deployment_name}-signing-secret")
    error_message = "job_secrets must not name the signing secret: whoever has it can start trainings."
  }

  validation {
    condition     = !contains(var.job_secrets, "${var.deployment_name}-labelbox-api-key")
    error_message = "job_secrets must not name the Labelbox API key: jobs may read it anyway, and a second grant would take that away when it is removed."
  }
}

variable "kms_key_name" {
  description = "Full name of a Cloud KMS key in the same region that encrypts what is stored; empty for Google's own keys. Read docs/deploy.md first: the services' agents must exist before they can be granted the key."
  type        = string
  default     = ""

  validation {
    condition     = var.kms_key_name == "" || can(regex("^projects/[^/]+/locations/${var.region}/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key_name))
    error_message = "kms_key_name must be projects/P/locations/REGION/keyRings/R/cryptoKeys/K with this deployment's region."
  }
}

variable "labelbox_endpoint" {
  description = "Labelbox's GraphQL endpoint; another one for a Labelbox in the EU or of your own."
  type        = string
  default     = "https://api.labelbox.com/graphql"

  validation {
    condition     = can(regex("^https://[A-Za-z0-9.-]+(:[0-9]+)?(/\\S*)?$", var.labelbox_endpoint))
    error_message = "labelbox_endpoint must be an https address: the API key travels with every request."
  }
}

variable "labels" {
  description = "Labels of every resource that can have them, and of every Vertex job, so that the billing export can be grouped by them."
  type        = map(string)
  default     = {}

  validation {
    condition = length(var.labels) <= 40 && alltrue([
      for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value)) && !startswith(key, "lb_")
    ])
    error_message = "labels: at most 40; keys of a-z, 0-9, _ and - that start with a letter and not with lb_; values of a-z, 0-9, _ and -; 63 characters each."
  }
}

variable "limits" {
  description = "What a run may spend at most, whatever its config asks, and how many runs there may be."
  type = object({
    machines                    = optional(set(string), ["e2-standard-4", "n1-standard-4", "n1-standard-8", "n1-highmem-8", "g2-standard-8"])
    accelerators                = optional(set(string), ["NVIDIA_TESLA_T4", "NVIDIA_L4"])
    max_accelerators            = optional(number, 1)
    max_automl_milli_node_hours = optional(number, 24000)
    max_active_runs             = optional(number, 20)
    max_runs_per_day            = optional(number, 100)
    max_job_hours               = optional(number)
    max_run_hours               = optional(number)
    max_job_cost                = optional(number)
    max_run_cost                = optional(number)
    hourly_prices               = optional(map(number), {})
  })
  default = {}

  validation {
    condition     = length(var.limits.machines) > 0 && length(var.limits.accelerators) > 0
    error_message = "limits.machines and limits.accelerators must not be empty; to forbid accelerators set max_accelerators to 0."
  }

  validation {
    condition = alltrue(concat(
      [for machine in var.limits.machines : can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)+$", machine))],
      [for accelerator in var.limits.accelerators : can(regex("^(NVIDIA|TPU)_[A-Z0-9_]+$", accelerator))],
    ))
    error_message = "limits.machines must be machine types such as n1-standard-4, limits.accelerators Vertex AI's names such as NVIDIA_TESLA_T4."
  }

  validation {
    condition = alltrue([
      for number in [var.limits.max_accelerators, var.limits.max_automl_milli_node_hours, var.limits.max_active_runs, var.limits.max_runs_per_day] :
      number >= 0 && floor(number) == number
    ])
    error_message = "The numbers in limits must be whole and not negative."
  }

  validation {
    condition     = alltrue([for resource, price in var.limits.hourly_prices : can(regex("^[A-Za-z0-9_-]+(/spot)?$", resource)) && price >= 0])
    error_message = "limits.hourly_prices must be prices by machine type, accelerator, automl_image_training_node or batch_prediction_node, with /spot for spot machines."
  }

  validation {
    condition = alltrue([
      for cap in [var.limits.max_job_hours, var.limits.max_run_hours, var.limits.max_job_cost, var.limits.max_run_cost] :
      cap == null ? true : cap > 0
    ])
    error_message = "A cap in limits (max_job_hours, max_run_hours, max_job_cost, max_run_cost) must be above 0; leave it out for no cap."
  }

  validation {
    condition     = (var.limits.max_job_cost == null && var.limits.max_run_cost == null) || length(var.limits.hourly_prices) > 0
    error_message = "A cap of cost needs limits.hourly_prices: your price by the hour of each machine type and accelerator."
  }
}

variable "log_retention_days" {
  description = "Keep the functions' and jobs' logs in a log bucket of the deployment's region for so many days; null leaves them to the project's _Default log bucket alone."
  type        = number
  default     = null

  validation {
    condition     = var.log_retention_days == null ? true : var.log_retention_days >= 1 && var.log_retention_days <= 3650
    error_message = "log_retention_days must be between 1 and 3650."
  }
}

variable "network" {
  description = "VPC for the functions' private traffic and for Vertex jobs: network as projects/NUMBER/global/networks/NAME, subnetwork by name or full id; null for none."
  type = object({
    network    = string
    subnetwork = string
    egress     = optional(string, "VPC_EGRESS_PRIVATE_RANGES_ONLY")
  })
  default = null

  validation {
    condition     = var.network == null ? true : can(regex("^projects/[0-9]+/global/networks/[^/]+$", var.network.network))
    error_message = "network.network must be projects/PROJECT_NUMBER/global/networks/NAME, as Vertex wants it: the project's number, not its id."
  }

  validation {
    condition     = var.network == null ? true : contains(["VPC_EGRESS_PRIVATE_RANGES_ONLY", "VPC_EGRESS_ALL_TRAFFIC"], var.network.egress)
    error_message = "network.egress must be VPC_EGRESS_PRIVATE_RANGES_ONLY or VPC_EGRESS_ALL_TRAFFIC."
  }
}

variable "pipeline_defaults" {
  description = "Other defaults of pipelines' parameters, by model type and parameter, so that nobody edits shipped files: { text_single_classification = { minimum_examples = 20 } }"
  type        = any
  default     = {}

  validation {
    condition     = can([for name, defaults in var.pipeline_defaults : keys(defaults)])
    error_message = "pipeline_defaults must be a map of maps: { MODEL_TYPE = { PARAMETER = VALUE } }."
  }

  validation {
    condition = alltrue(flatten([
      for name, defaults in var.pipeline_defaults : [
        for parameter in keys(defaults) : can(local.shipped_pipelines[name].parameters[parameter])
      ]
    ]))
    error_message = "pipeline_defaults names a model type or a parameter that does not exist; docs/parameters.md lists them."
  }
}

variable "project_id" {
  description = "Id of the Google Cloud project."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be a project's id, not its name or number."
  }
}

variable "public_access" {
  description = "Let the internet reach the coordinator, as Labelbox must. False: no grant to allUsers, and ingress through your own load balancer only (docs/deploy.md)."
  type        = bool
  default     = true
}

variable "reconcile_minutes" {
  description = "Period of the sweep that finds what no event announces: the latency of AutoML training and batch prediction."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30], var.reconcile_minutes)
    error_message = "reconcile_minutes must divide an hour: 1, 2, 3, 4, 5, 6, 10, 12, 15, 20 or 30."
  }
}

variable "region" {
  description = "The one region of the bucket, the functions, Vertex AI, messages, secrets and images."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a single region such as us-central1 or europe-west4: Vertex AI has no multi-regions."
  }

  validation {
    condition     = length(local.automl_pipelines) == 0 || contains(var.automl_regions, var.region)
    error_message = "AutoML image training is not known to be offered in ${var.region}, and these pipelines need it: ${join(", ", local.automl_pipelines)}. Leave them out by enabled_pipelines, choose another region, or extend automl_regions."
  }
}

variable "report_readers" {
  description = "Who may open the runs' reports in the bucket, and nothing else there, such as group:ml-team@example.com."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.report_readers : can(regex("^(group|user|domain|serviceAccount):.+$", member))])
    error_message = "Each of report_readers must be group:..., user:..., domain:... or serviceAccount:..."
  }
}

variable "retention_days" {
  description = "Days after which the bucket's lifecycle deletes files of runs, by top folder; 0 keeps them. facts/ and active/ are never deleted. Images are shared by runs under their content's hash, so they are kept unless you say otherwise."
  type = object({
    data    = optional(number, 180)
    endings = optional(number, 180)
    batch   = optional(number, 180)
    dead    = optional(number, 180)
    images  = optional(number, 0)
    reports = optional(number, 0)
  })
  default = {}

  validation {
    # A Vertex job may run for seven days, and a run waits a day for quota before each of its jobs.
    condition     = alltrue([for days in values(var.retention_days) : days == 0 || days >= 30 && floor(days) == days])
    error_message = "retention_days must be whole and at least 30, or 0 to keep: files of a run under way must not vanish."
  }
}

variable "vertex_roles" {
  description = "Roles on the project for launching jobs (stages), and for filling AutoML data sets and registering models (jobs; an empty text if no pipeline of yours does either). Vertex jobs have no grants on the resource; a custom role of yours can be tighter (docs/security.md)."
  type = object({
    stages = optional(string, "roles/aiplatform.user")
    jobs   = optional(string, "roles/aiplatform.user")
  })
  default = {}

  validation {
    # Basic roles such as roles/editor would undo every grant that is not given.
    condition     = alltrue([for role in compact(values(var.vertex_roles)) : can(regex("^(roles/aiplatform[.][A-Za-z]+|(projects|organizations)/[^/]+/roles/[A-Za-z0-9_.]+)$", role))])
    error_message = "vertex_roles must be roles/aiplatform.* or custom roles: projects/P/roles/R or organizations/O/roles/R."
  }

  validation {
    condition     = var.vertex_roles.stages != ""
    error_message = "vertex_roles.stages must be a role: nothing is launched without one."
  }
}

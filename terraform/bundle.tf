# The functions' source: what lies in functions/ and the requirements, as one zip that is named by its content.

locals {
  functions_dir = "${path.module}/../functions"

  # File names without extension are model types, in functions/pipelines/ and in its folder custom/.
  pipeline_paths = {
    for path in sort(setunion(
      fileset("${local.functions_dir}/pipelines", "*.yaml"), fileset("${local.functions_dir}/pipelines", "custom/*.yaml")
    )) : trimsuffix(basename(path), ".yaml") => "pipelines/${path}"
  }
  shipped_pipelines = {
    for name, path in local.pipeline_paths : name => yamldecode(file("${local.functions_dir}/${path}"))
  }
  enabled_pipelines = {
    for name, pipeline in local.shipped_pipelines : name => pipeline
    if var.enabled_pipelines == null ? true : contains(var.enabled_pipelines, name)
  }
  shipped_automl = sort([
    for name, pipeline in local.shipped_pipelines : name
    if contains(flatten([for stage in pipeline.stages : [for job in stage.jobs : job.kind]]), "TrainingPipeline")
  ])
  automl_pipelines = [for name in local.shipped_automl : name if contains(keys(local.enabled_pipelines), name)]
  # Where a run's first event goes.
  first_topics = toset([
    for pipeline in values(local.enabled_pipelines) :
    contains(local.stage_topics, pipeline.stages[0].name) ? pipeline.stages[0].name : "custom"
  ])

  # A pipeline with other defaults is written anew from its own data; all others go as they are.
  changed_pipelines = {
    for name, pipeline in local.enabled_pipelines : local.pipeline_paths[name] => yamlencode(merge(pipeline, {
      parameters = {
        for parameter, definition in pipeline.parameters : parameter => merge(definition,
          { for key in ["default"] : key => var.pipeline_defaults[name][parameter] if can(var.pipeline_defaults[name][parameter]) }
        )
      }
    })) if can(var.pipeline_defaults[name])
  }

  code = {
    for path in fileset(local.functions_dir, "**/*.py") : path => file("${local.functions_dir}/${path}")
  }
  bundle = merge(
    local.code,
    { "requirements.txt" = file("${path.module}/../requirements.txt") },
    { for name in keys(local.enabled_pipelines) : local.pipeline_paths[name] => file("${local.functions_dir}/${local.pipeline_paths[name]}") },
    local.changed_pipelines,
  )
  # Of the contents, not of the zip: the same files give the same name on every machine.
  bundle_hash = sha256(jsonencode(local.bundle))
}

data "archive_file" "bundle" {
  type        = "zip"
  output_path = "${path.module}/.terraform/functions-${local.prefix}.zip"

  dynamic "source" {
    for_each = local.bundle
    content {
      filename = source.key
      content  = source.value
    }
  }
}

resource "google_storage_bucket_object" "bundle" {
  name         = "functions/${substr(local.bundle_hash, 0, 32)}.zip"
  bucket       = google_storage_bucket.sources.name
  source       = data.archive_file.bundle.output_path
  content_type = "application/zip"

  lifecycle {
    create_before_destroy = true
  }
}

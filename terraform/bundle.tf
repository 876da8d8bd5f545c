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

  # By the rules of functions/orchestrator/parameters.py, which would refuse to start with such a default. A pattern that
  # Terraform's own kind of regular expression cannot read is left to that.
  given_defaults = flatten([
    for name, defaults in var.pipeline_defaults : [
      for parameter, value in defaults : {
        name    = "${name}.${parameter}"
        text    = try(tostring(value), "")
        json    = jsonencode(value)
        rule    = local.shipped_pipelines[name].parameters[parameter]
        choices = try([for choice in local.shipped_pipelines[name].parameters[parameter].choices : tostring(choice)], [])
        pattern = "^(?:${try(local.shipped_pipelines[name].parameters[parameter].pattern, "")})$"
      } if can(local.shipped_pipelines[name].parameters[parameter])
    ]
  ])
  wrong_defaults = compact([
    for given in local.given_defaults : (
      given.rule.type == "boolean" && !contains(["true", "false"], given.json) ? "${given.name} must be true or false" :
      given.rule.type == "integer" && !can(regex("^-?[0-9]+$", given.json)) ? "${given.name} must be a whole number" :
      given.rule.type == "number" && !can(regex("^-?[0-9]", given.json)) ? "${given.name} must be a number" :
      given.rule.type == "string" && !can(regex(can(given.rule.pattern) ? "^[\"0-9-]" : "^\"", given.json)) ? "${given.name} must be a text" :
      try(tonumber(given.text) < given.rule.minimum, false) ? "${given.name} must be at least ${given.rule.minimum}" :
      try(tonumber(given.text) > given.rule.maximum, false) ? "${given.name} must be at most ${given.rule.maximum}" :
      length(given.choices) > 0 && !contains(given.choices, given.text) ? "${given.name} must be one of ${join(", ", given.choices)}" :
      can(regexall(given.pattern, "")) && can(given.rule.pattern) && !can(regex(given.pattern, given.text)) ? "${given.name} must be ${given.rule.form}" : ""
    )
  ])

  # What each job of an enabled pipeline runs on where a run's config asks for nothing else.
  named_machines = flatten([
    for name, pipeline in local.enabled_pipelines : [
      for stage in pipeline.stages : [
        for job in stage.jobs : {
          job       = "${name} ${stage.name}/${job.name}"
          machine   = try(job.machine, job.kind == "CustomJob" ? "n1-standard-4" : "")
          parameter = try(regex("^\\$\\{parameters[.](.*)\\}$", job.machine)[0], "")
          pipeline  = name
        }
      ]
    ]
  ])
  default_machines = {
    for item in local.named_machines : item.job => try(
      var.pipeline_defaults[item.pipeline][item.parameter],
      local.shipped_pipelines[item.pipeline].parameters[item.parameter].default,
      item.machine,
    )
  }
  forbidden_machines = [
    for job, machine in local.default_machines : "${job} (${machine})"
    if machine != "" && !contains(var.limits.machines, machine)
  ]

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

    precondition {
      condition     = length(local.wrong_defaults) == 0
      error_message = "pipeline_defaults has values that their parameters do not take: ${join("; ", local.wrong_defaults)}."
    }
  }
}

# A warning only: a run's config may ask for a machine that is allowed.
check "machines" {
  assert {
    condition     = length(local.forbidden_machines) == 0
    error_message = "limits.machines leaves out what these jobs run on unless a run asks for another: ${join(", ", local.forbidden_machines)}. Such runs fail."
  }
}

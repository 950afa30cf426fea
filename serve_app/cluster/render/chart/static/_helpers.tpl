{{- /* The name of the RayService, and the beginning of all other names: KubeRay refuses more than Helm does. */}}
{{- define "cascade.name" -}}
{{- $name := regexReplaceAll "-+$" (.Values.nameOverride | default .Release.Name | trunc 47) "" -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) -}}
{{- fail (printf "A RayService cannot be named %q as this release is: set nameOverride: a lower-case letter, then lower-case letters, digits and dashes." $name) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{- define "cascade.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else if .Values.image.tag -}}
{{- printf "%s:%s" .Values.image.repository .Values.image.tag -}}
{{- else -}}
{{- .Values.image.repository -}}
{{- end -}}
{{- end }}

{{- /* The name of the RayService, and the beginning of all other names. */}}
{{- define "cascade.name" -}}
{{- .Values.nameOverride | default .Release.Name | trunc 47 | trimSuffix "-" -}}
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

{{- /* The budget by which one worker at a time may be evicted, and a single one never. */}}
{{- define "cascade.minAvailable" -}}
{{- $least := 0 -}}
{{- range .Values.workerGroups -}}
{{- $least = add $least (int .minReplicas) -}}
{{- end -}}
{{- max 1 (sub $least 1) -}}
{{- end }}

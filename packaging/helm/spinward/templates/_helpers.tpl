{{- define "spinward.name" -}}
{{- $name := printf "%s-%s" .Release.Name .Chart.Name -}}
{{- ternary .Release.Name $name (contains .Chart.Name .Release.Name) | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "spinward.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "spinward.labels" -}}
{{ include "spinward.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "spinward.secret" -}}
{{ .Values.secret.existing | default (include "spinward.name" .) }}
{{- end }}

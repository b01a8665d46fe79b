{{/* Names, labels, images, ports. Most helpers take (dict "root" $ "name" COMPONENT). */}}

{{- define "earwitness.name" -}}
{{- default .Chart.Name .Values.nameOverride -}}
{{- end }}

{{/* The beginning of every object's name: the release's name, with the chart's unless it is in there.

Services want a letter first and no dots. A StatefulSet's name with a revision behind it is a label, of 63 characters at
most, so 42 are left here; what is longer is cut and ends with its own hash, or two releases could get the same names.
*/}}
{{- define "earwitness.fullname" -}}
{{- $name := include "earwitness.name" . -}}
{{- $full := .Release.Name -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- else if regexMatch "^[0-9]" .Release.Name -}}
{{- $full = printf "%s-%s" $name .Release.Name -}}
{{- else -}}
{{- $full = printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- $full = replace "." "-" $full -}}
{{- if regexMatch "^[0-9]" $full }}{{ $full = printf "%s-%s" .Chart.Name $full }}{{ end -}}
{{- if gt (len $full) 42 }}{{ $full = printf "%s-%s" (trunc 33 $full | trimSuffix "-") (sha256sum $full | trunc 8) }}{{ end -}}
{{- $full -}}
{{- end }}

{{- define "earwitness.selectorLabels" -}}
app.kubernetes.io/name: {{ include "earwitness.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{- define "earwitness.labels" -}}
{{ include "earwitness.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: earwitness
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "earwitness.metadata" -}}
name: {{ include "earwitness.fullname" .root }}-{{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "earwitness.labels" . | nindent 2 }}
{{- end }}

{{- define "earwitness.serviceAccount" -}}
{{- $own := ternary (include "earwitness.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $own .Values.serviceAccount.name -}}
{{- end }}

{{/* One of earwitness' own images: (dict "root" $ "image" IMAGE). */}}
{{- define "earwitness.image" -}}
{{- $registry := .root.Values.imageRegistry | trimSuffix "/" -}}
{{- $repository := .image.repository -}}
{{- if $registry }}{{ $repository = printf "%s/%s" $registry $repository }}{{ end -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end }}

{{- define "earwitness.ports" -}}
{{- if eq . "explainer" }}{grpc: 50051, metrics: 9101, health: 50061}
{{- else if eq . "scorer" }}{grpc: 50052, metrics: 9102, health: 50062}
{{- else }}{grpc: 8001, metrics: 8002, http: 8000}
{{- end }}
{{- end }}

{{/* HOST:PORT of a component's gRPC service inside the namespace. */}}
{{- define "earwitness.address" -}}
{{ include "earwitness.fullname" .root }}-{{ .name }}:{{ (include "earwitness.ports" .name | fromYaml).grpc }}
{{- end }}

{{/* HOST:PORT of the Triton that the explainer uses; empty when it runs the models itself. */}}
{{- define "earwitness.tritonAddress" -}}
{{- if .Values.triton.enabled -}}
{{ include "earwitness.address" (dict "root" . "name" "triton") }}
{{- else -}}
{{ .Values.triton.externalUrl }}
{{- end -}}
{{- end }}

{{/* The components that are on, as a YAML map under "names". */}}
{{- define "earwitness.components" -}}
names:
{{- range tuple "explainer" "scorer" "triton" }}
{{- if (index $.Values .).enabled }}
  - {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Explainer and scorer on SQLite are StatefulSets, for their volumes; everything else is a Deployment. */}}
{{- define "earwitness.workloadKind" -}}
{{- if or (eq .name "triton") (eq .root.Values.database.kind "postgresql") }}Deployment{{ else }}StatefulSet{{ end -}}
{{- end }}

{{/* What explainer and scorer do not share. Helpers take (dict "root" $ "name" COMPONENT). */}}

{{- define "earwitness.runsModels" -}}
{{- if and (eq .name "explainer") (not (include "earwitness.tritonAddress" .root)) }}true{{ end -}}
{{- end }}

{{- define "earwitness.explainerSettings" -}}
{{- $values := .root.Values -}}
{{- if include "earwitness.runsModels" . -}}
- {name: EARWITNESS_EXPLAINER_BACKEND, value: local}
- {name: EARWITNESS_EXPLAINER_MODEL_REPOSITORY, value: {{ include "earwitness.modelsPath" .root }}}
{{- else -}}
- {name: EARWITNESS_EXPLAINER_TRITON_URL, value: {{ include "earwitness.tritonAddress" .root | quote }}}
{{- with $values.tls }}{{ if .triton }}
- {name: EARWITNESS_EXPLAINER_TRITON_TLS_CA, value: /etc/earwitness/tls/ca.crt}
{{- if .mutual }}
- {name: EARWITNESS_EXPLAINER_TRITON_TLS_CERTIFICATE, value: /etc/earwitness/tls/tls.crt}
- {name: EARWITNESS_EXPLAINER_TRITON_TLS_KEY, value: /etc/earwitness/tls/tls.key}
{{- end }}
{{- end }}{{ end }}
{{- end }}
{{- if $values.scorer.enabled }}
- {name: EARWITNESS_EXPLAINER_SCORER_ADDRESS, value: {{ include "earwitness.address" (dict "root" .root "name" "scorer") | quote }}}
{{- if $values.auth.existingSecret }}
- {name: EARWITNESS_EXPLAINER_SCORER_TOKEN_FILE, value: /etc/earwitness/auth/client}
{{- end }}
{{- with $values.tls }}{{ if .existingSecret }}
- {name: EARWITNESS_EXPLAINER_SCORER_TLS_CA, value: /etc/earwitness/tls/ca.crt}
{{- if .mutual }}
- {name: EARWITNESS_EXPLAINER_SCORER_TLS_CERTIFICATE, value: /etc/earwitness/tls/tls.crt}
- {name: EARWITNESS_EXPLAINER_SCORER_TLS_KEY, value: /etc/earwitness/tls/tls.key}
{{- end }}
{{- end }}{{ end }}
{{- end }}
{{- end }}

{{- define "earwitness.scorerSettings" -}}
{{- end }}

{{/* Combinations that no schema can refuse with a reason. */}}
{{- define "earwitness.checkService" -}}
{{- $values := index .root.Values .name -}}
{{- if eq .root.Values.database.kind "sqlite" }}
{{- if or (gt (int $values.replicas) 1) (ne $values.autoscaling.by "none") }}
{{- fail (printf "%s.replicas above 1 and %s.autoscaling need database.kind: postgresql, a SQLite file has one writer" .name .name) }}
{{- end }}
{{- end }}
{{- if and (include "earwitness.runsModels" .) (has .root.Values.models.source (list "s3" "baked")) }}
{{- fail (printf "models.source: %s needs triton.enabled or triton.externalUrl; an explainer that runs the models itself takes init, image or pvc" .root.Values.models.source) }}
{{- end }}
{{- end }}

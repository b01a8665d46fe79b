{{/* What the pods of all components share. Helpers take (dict "root" $ "name" COMPONENT). */}}

{{/* Top of a pod's spec; userId owns its files. */}}
{{- define "earwitness.podDefaults" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
automountServiceAccountToken: false
# Kubernetes' variables for Services, e.g. EARWITNESS_SCORER_PORT=tcp://..., would be taken for settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .userId }}
  runAsGroup: {{ .userId }}
  fsGroup: {{ .userId }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "earwitness.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Where a component's pods run. */}}
{{- define "earwitness.placement" -}}
{{- $values := index .root.Values .name -}}
serviceAccountName: {{ include "earwitness.serviceAccount" .root }}
topologySpreadConstraints:
  {{- range tuple "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $.root.Values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "earwitness.selectorLabels" $ | nindent 8 }}
  {{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "earwitness.containerPorts" -}}
ports:
  {{- range $port, $number := include "earwitness.ports" .name | fromYaml }}
  - {name: {{ $port }}, containerPort: {{ $number }}, protocol: TCP}
  {{- end }}
{{- end }}

{{/* Health is asked on a port of its own, without TLS, which the network policy leaves to the node. */}}
{{- define "earwitness.grpcProbes" -}}
{{- $port := (include "earwitness.ports" .name | fromYaml).health -}}
startupProbe:
  grpc: {port: {{ $port }}, service: live}
  periodSeconds: 2
  failureThreshold: 150
livenessProbe:
  grpc: {port: {{ $port }}, service: live}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  grpc: {port: {{ $port }}}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{/* A service's settings as environment variables. */}}
{{- define "earwitness.settings" -}}
{{- $prefix := printf "EARWITNESS_%s_" (upper .name) -}}
{{- $ports := include "earwitness.ports" .name | fromYaml -}}
- {name: {{ $prefix }}HOST, value: "0.0.0.0"}
- {name: {{ $prefix }}PORT, value: {{ $ports.grpc | quote }}}
- {name: {{ $prefix }}METRICS_PORT, value: {{ $ports.metrics | quote }}}
- {name: {{ $prefix }}HEALTH_PORT, value: {{ $ports.health | quote }}}
{{ include "earwitness.databaseSettings" . }}
{{- if .root.Values.auth.existingSecret }}
- {name: {{ $prefix }}TOKEN_FILE, value: /etc/earwitness/auth/tokens}
{{- end }}
{{- with .root.Values.tls }}{{ if .existingSecret }}
- {name: {{ $prefix }}TLS_CERTIFICATE, value: /etc/earwitness/tls/tls.crt}
- {name: {{ $prefix }}TLS_KEY, value: /etc/earwitness/tls/tls.key}
{{- if .mutual }}
- {name: {{ $prefix }}TLS_CLIENT_CA, value: /etc/earwitness/tls/ca.crt}
{{- end }}
{{- end }}{{ end }}
{{- with .root.Values.tracing }}{{ if .endpoint }}
- {name: {{ $prefix }}TRACE_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: OTEL_TRACES_SAMPLER, value: parentbased_traceidratio}
- {name: OTEL_TRACES_SAMPLER_ARG, value: {{ .ratio | quote }}}
{{- end }}{{ end }}
{{- range $setting, $value := (index .root.Values .name).settings }}
- name: {{ $prefix }}{{ upper $setting }}
  # Numbers by toJson: printed as they are, large ones would come as 1e+07.
  value: {{ if kindIs "string" $value }}{{ $value | quote }}{{ else }}{{ $value | toJson | quote }}{{ end }}
{{- end }}
{{- end }}

{{- define "earwitness.databaseSettings" -}}
{{- $prefix := printf "EARWITNESS_%s_" (upper .name) -}}
{{- if eq .root.Values.database.kind "sqlite" -}}
- {name: {{ $prefix }}DATA_DIR, value: /var/lib/earwitness}
{{- else -}}
- name: {{ $prefix }}DATABASE_URL
  valueFrom:
    secretKeyRef:
      {{- with .root.Values.database.postgresql }}
      name: {{ .existingSecret }}
      key: {{ index . (printf "%sKey" $.name) }}
      {{- end }}
{{- end }}
{{- end }}

{{/* Secrets as files, for servers and for the pod of `helm test`. */}}
{{- define "earwitness.secretMounts" -}}
{{- if .Values.auth.existingSecret }}
- {name: auth, mountPath: /etc/earwitness/auth, readOnly: true}
{{- end }}
{{- include "earwitness.tlsMount" . }}
{{- end }}

{{- define "earwitness.tlsMount" -}}
{{- if .Values.tls.existingSecret }}
- {name: tls, mountPath: /etc/earwitness/tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "earwitness.secretVolumes" -}}
{{- with .Values.auth }}{{ if .existingSecret }}
- name: auth
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
    items:
      - {key: {{ .tokensKey }}, path: tokens}
      - {key: {{ .clientKey }}, path: client}
{{- end }}{{ end }}
{{- include "earwitness.tlsVolume" . }}
{{- end }}

{{- define "earwitness.tlsVolume" -}}
{{- with .Values.tls.existingSecret }}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}

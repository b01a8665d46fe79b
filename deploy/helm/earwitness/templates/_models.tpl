{{/* The model repository: the same for Triton and for an explainer that runs the models itself. */}}

{{- define "earwitness.modelsPath" -}}
{{- if eq .Values.models.source "s3" }}{{ .Values.models.s3.url }}
{{- else if eq .Values.models.source "image" }}/mnt/models/models
{{- else }}/models
{{- end }}
{{- end }}

{{- define "earwitness.modelsMount" -}}
{{- with .Values.models }}
{{- if eq .source "image" }}
- {name: models, mountPath: /mnt/models, readOnly: true}
{{- else if eq .source "pvc" }}
- {name: models, mountPath: /models, readOnly: true{{ with .pvc.subPath }}, subPath: {{ . }}{{ end }}}
{{- else if eq .source "init" }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{- define "earwitness.modelsVolume" -}}
{{- if and (eq .Values.models.source "image") (semverCompare "<1.35.0-0" .Capabilities.KubeVersion.Version) }}
{{- fail (printf "models.source: image needs Kubernetes 1.35, this is %s; take init" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- with .Values.models }}
{{- if eq .source "init" }}
- name: models
  emptyDir: {}
{{- else if eq .source "image" }}
- name: models
  image:
    reference: {{ include "earwitness.image" (dict "root" $ "image" .image) }}
    pullPolicy: {{ .image.pullPolicy }}
{{- else if eq .source "pvc" }}
- name: models
  persistentVolumeClaim: {claimName: {{ .pvc.existingClaim }}, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{- define "earwitness.modelsInit" -}}
{{- if eq .Values.models.source "init" }}
initContainers:
  - name: models
    image: {{ include "earwitness.image" (dict "root" . "image" .Values.models.image) }}
    imagePullPolicy: {{ .Values.models.image.pullPolicy }}
    command: [cp, -R, /models/., /repository]
    {{- include "earwitness.containerSecurity" . | nindent 4 }}
    resources:
      requests: {cpu: 50m, memory: 32Mi}
      limits: {memory: 128Mi}
    volumeMounts:
      - {name: models, mountPath: /repository}
{{- end }}
{{- end }}

{{/* Variables by which Triton reads S3. */}}
{{- define "earwitness.modelsEnvFrom" -}}
{{- with .Values.models }}{{ if and (eq .source "s3") .s3.existingSecret }}
envFrom:
  - secretRef: {name: {{ .s3.existingSecret }}}
{{- end }}{{ end }}
{{- end }}

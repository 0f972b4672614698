{{/*
What every name starts with: the release's name, with the chart's unless it is in there already.
A Service's name is a DNS-1035 label: no dots, no digit first; a release's name may have both.
*/}}
{{- define "exectrail.fullname" -}}
{{- $chart := .Values.nameOverride | default .Chart.Name -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- $name := ternary $release (printf "%s-%s" $release $chart) (contains $chart $release) -}}
{{- if regexMatch "^[0-9]" $release -}}
{{- $name = printf "%s-%s" $chart $release -}}
{{- end -}}
{{- .Values.fullnameOverride | default $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/*
An object's name: the full name cut so that the suffix always fits into 63 characters.
Call with (dict "root" $ "component" SUFFIX).
*/}}
{{- define "exectrail.name" -}}
{{- $room := sub 62 (len .component) | int -}}
{{- printf "%s-%s" (include "exectrail.fullname" .root | trunc $room | trimSuffix "-") .component -}}
{{- end -}}

{{/* What a component's pods are selected by: never changes in the life of a release. */}}
{{- define "exectrail.selectorLabels" -}}
app.kubernetes.io/name: exectrail
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of an object; those that pods are selected by win over the user's. */}}
{{- define "exectrail.labels" -}}
{{- $own := include "exectrail.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" (.root.Chart.AppVersion | toString) -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- toYaml (merge $own .root.Values.commonLabels) -}}
{{- end -}}

{{/* Labels of a component's pods. */}}
{{- define "exectrail.podLabels" -}}
{{- $values := index .root.Values .component -}}
{{- toYaml (merge (include "exectrail.labels" . | fromYaml) $values.podLabels) -}}
{{- end -}}

{{/* Who a component's pods are, and which nodes they run on. */}}
{{- define "exectrail.podSpec" -}}
{{- $values := index .root.Values .component -}}
serviceAccountName: {{ include "exectrail.name" . }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ quote . }}
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
{{- end -}}

{{- define "exectrail.image" -}}
{{- with .Values.image -}}
image: "{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ with .digest }}@{{ . }}{{ end }}"
imagePullPolicy: {{ .pullPolicy }}
{{- end }}
{{- end -}}

{{/* The pod's half of Pod Security `restricted`, as the image's user. */}}
{{- define "exectrail.restrictedPod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The container's half of Pod Security `restricted`, and a read-only root. */}}
{{- define "exectrail.restrictedContainer" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The trail, as a container that has its volume sees it. In `pvc` the kubelet fills in the node's name. */}}
{{- define "exectrail.trail" -}}
{{- $file := base (.Values.logs.auditLogPath | default "trail.jsonl") -}}
{{- $perNode := printf "%s-$(NODE_NAME)%s" (trimSuffix (ext $file) $file) (ext $file) -}}
{{- get (dict "file" (printf "/trail/%s" $file) "pvc" (printf "/trail/%s" $perNode) "stdout" "-") .Values.logs.mode -}}
{{- end -}}

{{/* The volume that holds the trail; none in `stdout`. */}}
{{- define "exectrail.trailVolume" -}}
{{- if eq .Values.logs.mode "file" -}}
- name: trail
  hostPath:
    path: {{ ternary (dir .Values.logs.auditLogPath) .Values.logs.file.path (not (empty .Values.logs.auditLogPath)) | quote }}
    type: DirectoryOrCreate
{{- else if eq .Values.logs.mode "pvc" -}}
- name: trail
  persistentVolumeClaim:
    claimName: {{ .Values.logs.pvc.existingClaim | default (include "exectrail.name" (dict "root" . "component" "trail")) | quote }}
{{- end -}}
{{- end -}}

{{/* The volume with what `spod` asks for. A folder and not a subPath, which would never change. */}}
{{- define "exectrail.settingsVolume" -}}
- name: settings
  configMap:
    name: {{ include "exectrail.name" (dict "root" . "component" "spod") }}
    # Without it the arguments count, and no pod waits for it.
    optional: true
{{- end -}}

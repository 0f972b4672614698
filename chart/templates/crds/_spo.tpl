{{/*
What the definitions of the Security Profiles Operator's kinds have in common.

Every version of a kind has the same fields. The API server converts between them by the version's name alone, and prunes
what the stored version does not know: a field of only one version would be lost.
*/}}

{{/* Metadata of a definition. Call with (dict "root" $ "plural" PLURAL). */}}
{{- define "exectrail.spo.metadata" -}}
name: {{ .plural }}.security-profiles-operator.x-k8s.io
labels:
  {{- include "exectrail.labels" (dict "root" .root "component" "controller") | nindent 2 }}
{{- if .root.Values.crds.keep }}
annotations:
  helm.sh/resource-policy: keep
{{- end }}
{{- end -}}

{{/*
`true` where this release installs a definition: it is wanted, and none of anybody else's is there.
Call with (dict "root" $ "plural" PLURAL). Without a cluster to look at (`helm template`) none is there.
*/}}
{{- define "exectrail.spo.ours" -}}
{{- if and .root.Values.crds.enabled .root.Values.crds.spo.enabled -}}
{{- if ne (include "exectrail.spo.foreign" .) "true" -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* `true` where the cluster has this definition, and not from this release. */}}
{{- define "exectrail.spo.foreign" -}}
{{- $name := printf "%s.security-profiles-operator.x-k8s.io" .plural -}}
{{- with lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name -}}
{{- $annotations := .metadata.annotations | default dict -}}
{{- $release := get $annotations "meta.helm.sh/release-name" -}}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" -}}
{{- if not (and (eq $release $.root.Release.Name) (eq $namespace $.root.Release.Namespace)) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* meta/v1 conditions. */}}
{{- define "exectrail.spo.conditions" -}}
type: array
x-kubernetes-list-type: map
x-kubernetes-list-map-keys: [type]
items:
  type: object
  required: [type, status]
  properties:
    type:
      type: string
    status:
      type: string
      enum: ["True", "False", Unknown]
    reason:
      type: string
    message:
      type: string
    observedGeneration:
      type: integer
      format: int64
      minimum: 0
    lastTransitionTime:
      type: string
      format: date-time
{{- end -}}

{{/* meta/v1 LabelSelector. */}}
{{- define "exectrail.spo.labelSelector" -}}
type: object
x-kubernetes-map-type: atomic
properties:
  matchLabels:
    type: object
    additionalProperties:
      type: string
  matchExpressions:
    type: array
    x-kubernetes-list-type: atomic
    items:
      type: object
      required: [key, operator]
      properties:
        key:
          type: string
        operator:
          type: string
        values:
          type: array
          x-kubernetes-list-type: atomic
          items:
            type: string
{{- end -}}

{{/* Names, each once and in no order. */}}
{{- define "exectrail.spo.nameSet" -}}
type: array
x-kubernetes-list-type: set
items:
  type: string
{{- end -}}

{{/* Actions of a seccomp filter. */}}
{{- define "exectrail.spo.seccompActions" -}}
- SCMP_ACT_KILL
- SCMP_ACT_KILL_PROCESS
- SCMP_ACT_KILL_THREAD
- SCMP_ACT_TRAP
- SCMP_ACT_ERRNO
- SCMP_ACT_TRACE
- SCMP_ACT_ALLOW
- SCMP_ACT_LOG
- SCMP_ACT_NOTIFY
{{- end -}}

{{/* States of a profile, on one node or on all. */}}
{{- define "exectrail.spo.states" -}}
- Partial
- Disabled
- Pending
- InProgress
- Installed
- Terminating
- Error
{{- end -}}

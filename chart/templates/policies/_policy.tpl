{{/*
The head of a policy, and its binding, which denies.
Call with (dict "root" $ "name" NAME "component" COMPONENT), and "keep" true where they outlive the release.
*/}}
{{- define "exectrail.policy.metadata" -}}
name: {{ include "exectrail.name" (dict "root" .root "component" .name) }}
labels:
  {{- include "exectrail.labels" (dict "root" .root "component" .component) | nindent 2 }}
{{- if .keep }}
annotations:
  helm.sh/resource-policy: keep
{{- end }}
{{- end -}}

{{- define "exectrail.policy.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  {{- include "exectrail.policy.metadata" . | nindent 2 }}
spec:
  policyName: {{ include "exectrail.name" (dict "root" .root "component" .name) }}
  validationActions: [Deny]
{{- end -}}

{{/* A part's user name. Call with (dict "root" $ "component" COMPONENT). */}}
{{- define "exectrail.policy.user" -}}
system:serviceaccount:{{ .root.Release.Namespace }}:{{ include "exectrail.name" . }}
{{- end -}}

{{/* CEL: whether the caller's token belongs to a pod on the node that an expression names. Tokens have it from 1.30 on. */}}
{{- define "exectrail.policy.ofNode" -}}
has(request.userInfo.extra) && 'authentication.kubernetes.io/node-name' in request.userInfo.extra && request.userInfo.extra['authentication.kubernetes.io/node-name'].exists(node, node == {{ . }})
{{- end -}}

{{/* CEL: whether the caller may administer the trails of this release. Cluster administrators may. */}}
{{- define "exectrail.policy.administers" -}}
authorizer.group('exectrail.io').resource('trails').namespace('{{ .Release.Namespace }}').check('administer').allowed()
{{- end -}}

{{/* CEL: the file of the seccomp profile that a pod's spec or a container names, or ''. */}}
{{- define "exectrail.policy.seccompFile" -}}
has({{ . }}.securityContext) && has({{ . }}.securityContext.seccompProfile) && has({{ . }}.securityContext.seccompProfile.localhostProfile) ? {{ . }}.securityContext.seccompProfile.localhostProfile : ''
{{- end -}}

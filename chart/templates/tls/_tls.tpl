{{/* The name of the Secret with the webhook's certificate. */}}
{{- define "exectrail.tls.secret" -}}
{{- if eq .Values.tls.mode "existingSecret" -}}
{{- .Values.tls.existingSecret.name -}}
{{- else if eq .Values.tls.mode "self-managed" -}}
{{- include "exectrail.name" (dict "root" . "component" "self-managed-tls") -}}
{{- else -}}
{{- include "exectrail.name" (dict "root" . "component" "webhook-tls") -}}
{{- end -}}
{{- end -}}

{{/*
How the API server reaches the webhook. Call with (dict "root" $ "entry" NAME "path" PATH).
`caBundle` is there only where this chart knows it: others write it in every other mode, and Helm's server-side apply would
fight for it at every upgrade.
*/}}
{{- define "exectrail.tls.clientConfig" -}}
{{- with .root.Values.tls -}}
{{- if eq .mode "existingSecret" -}}
caBundle: {{ .existingSecret.caBundle | trim | b64enc }}
{{ end -}}
{{- end -}}
service:
  name: {{ include "exectrail.name" (dict "root" .root "component" "webhook") }}
  namespace: {{ .root.Release.Namespace | quote }}
  path: {{ include "exectrail.tls.livePath" . }}
  port: 443
{{- end -}}

{{/*
An entry's path as the cluster has it, where the webhook has put its secret behind it: set back, calls would be refused until
the webhook has repaired it, and Helm's server-side apply would fail. It stays when secretPath is disabled: the webhook then
answers whatever is behind its paths.
*/}}
{{- define "exectrail.tls.livePath" -}}
{{- $path := .path -}}
{{- $live := lookup "admissionregistration.k8s.io/v1" "MutatingWebhookConfiguration" "" (include "exectrail.fullname" .root) | default dict -}}
{{- range $live.webhooks -}}
{{- $found := dig "clientConfig" "service" "path" "" . -}}
{{- if and (eq .name $.entry) (hasPrefix (printf "%s/" $.path) $found) -}}
{{- $path = $found -}}
{{- end -}}
{{- end -}}
{{- $path -}}
{{- end -}}

{{/* Fails where the values of `tls` contradict each other. */}}
{{- define "exectrail.tls.check" -}}
{{- $tls := .Values.tls -}}
{{- if eq $tls.mode "existingSecret" -}}
{{- if not $tls.existingSecret.name -}}
{{- fail "tls.mode is \"existingSecret\", but tls.existingSecret.name is empty: set it to the name of a Secret with tls.crt and tls.key in the release namespace" -}}
{{- end -}}
{{- if not $tls.existingSecret.caBundle -}}
{{- fail "tls.mode is \"existingSecret\", but tls.existingSecret.caBundle is empty: set it to the certificate of the CA, in PEM (--set-file tls.existingSecret.caBundle=ca.crt)" -}}
{{- end -}}
{{- else if or $tls.existingSecret.name $tls.existingSecret.caBundle -}}
{{- fail (printf "tls.existingSecret is set, but tls.mode is %q: set tls.mode to existingSecret, or empty tls.existingSecret.name and caBundle" $tls.mode) -}}
{{- end -}}
{{- if and $tls.issuerRef.name (ne $tls.mode "cert-manager") -}}
{{- fail (printf "tls.issuerRef.name is set, but tls.mode is %q: set tls.mode to cert-manager, or empty tls.issuerRef.name" $tls.mode) -}}
{{- end -}}
{{- $leaf := trimSuffix "h" $tls.duration | int -}}
{{- if ge (trimSuffix "h" $tls.renewBefore | int) $leaf -}}
{{- fail (printf "tls.renewBefore is %s, and tls.duration %s: make it shorter, or each certificate is renewed as soon as it is there" $tls.renewBefore $tls.duration) -}}
{{- end -}}
{{- if ge (trimSuffix "h" $tls.ca.renewBefore | int) (trimSuffix "h" $tls.ca.duration | int) -}}
{{- fail (printf "tls.ca.renewBefore is %s, and tls.ca.duration %s: make it shorter, or each CA is renewed as soon as it is there" $tls.ca.renewBefore $tls.ca.duration) -}}
{{- end -}}
{{- if lt (trimSuffix "h" $tls.ca.renewBefore | int) $leaf -}}
{{- fail (printf "tls.ca.renewBefore is %s, and tls.duration %s: make it at least that, or a certificate outlives its CA" $tls.ca.renewBefore $tls.duration) -}}
{{- end -}}
{{- end -}}

{{/* What makes an object part of `helm test` alone. Call with (dict "weight" WEIGHT "delete" WHEN); the lowest come first. */}}
{{- define "exectrail.hook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ quote .weight }}
helm.sh/hook-delete-policy: {{ .delete }}
{{- end -}}

module exectrail.io/tests/cluster/security-profiles-operator

go 1.24.0

require sigs.k8s.io/security-profiles-operator v1.0.0

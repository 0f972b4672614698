#!/bin/sh
# What docs/tasks/quickstart.md says, on k3d. The cluster stays.
set -eux
cd "$(dirname "$0")/../../.."

k3d cluster create exectrail --wait
docker build --file Containerfile --tag exectrail:dev .
k3d image import exectrail:dev --cluster exectrail

kubectl create namespace exectrail
helm install exectrail ./chart --namespace exectrail --values docs/tasks/quickstart/values.yaml --wait

kubectl create namespace shop
kubectl label namespace shop exectrail.io/record=true
kubectl run web --namespace shop --image exectrail:dev --image-pull-policy Never -- sleep infinity
kubectl wait pod/web --namespace shop --for condition=Ready --timeout 60s
kubectl exec web --namespace shop -- sh -c 'id; ls / | head -2'
python3 -m venv build/quickstart
build/quickstart/bin/pip install --quiet .
kubectl get nodetrails
build/quickstart/bin/exectrail sessions --namespace shop
kubectl wait auditsessions --all --namespace exectrail --for jsonpath='{.status.phase}'=Closed --timeout 60s
build/quickstart/bin/exectrail show "$(kubectl get auditsessions --namespace exectrail --output jsonpath='{.items[0].metadata.name}')"

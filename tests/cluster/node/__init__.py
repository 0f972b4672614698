"""The node: a real single-node Kubernetes cluster, made from Debian packages and Go modules.

No container engine, no registry of images and no virtual machine are needed, only root on Linux::

    python3 -m tests.cluster.node up      # the first time builds for some ten minutes, then half a minute
    eval "$(python3 -m tests.cluster.node env)"
    kubectl get nodes
    python3 -m tests.cluster.node down

What it consists of is the table in `components`; how it comes up is `up`, read from top to bottom.
"""

"""The files that containerd and the kubelet would have left for the bench's pods."""

from __future__ import annotations

import json
from pathlib import Path

from bench.cgroups import container_id, pod_uid

_BUNDLES = "run/containerd/io.containerd.runtime.v2.task/k8s.io"


def write_runtime_files(root: Path, pods: int, containers_per_pod: int = 3) -> None:
    for pod in range(pods):
        uid, name = pod_uid(pod), f"service-{pod:05d}"
        (root / f"var/log/pods/shop_{name}_{uid}").mkdir(parents=True)
        for number in range(containers_per_pod):
            bundle = root / _BUNDLES / container_id(pod, number)
            bundle.mkdir(parents=True)
            annotations = {
                "io.kubernetes.cri.container-type": "container",
                "io.kubernetes.cri.container-name": f"part-{number}",
                "io.kubernetes.cri.sandbox-name": name,
                "io.kubernetes.cri.sandbox-namespace": "shop",
                "io.kubernetes.cri.sandbox-uid": uid,
                "io.kubernetes.cri.image-name": "docker.io/library/busybox:1.36",
            }
            (bundle / "config.json").write_text(json.dumps({"annotations": annotations}))

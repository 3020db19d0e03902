"""As much of kustomize as the folders of deploy/kubernetes use, for machines that have none: resources, namespace, labels
of metadata, images, patches by strategic merge, generated ConfigMaps without a suffix. An unknown key ends the check."""

from pathlib import Path

import yaml

KNOWN = {"apiVersion", "kind", "resources", "namespace", "labels", "images", "patches", "configMapGenerator"}
# Lists of objects that are merged by this key, and not replaced.
MERGE_KEYS = {"containers": "name"}


def build(folder):
    """The documents of a folder with a kustomization.yaml."""
    folder = Path(folder)
    wanted = yaml.safe_load((folder / "kustomization.yaml").read_text())
    unknown = set(wanted) - KNOWN
    if unknown:
        raise SystemExit(f"✘ {folder}: kustomize.py does not know {unknown}")
    documents = []
    for resource in wanted["resources"]:
        path = folder / resource
        documents += build(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for generator in wanted.get("configMapGenerator", []):
        generate(folder, generator, documents)
    for patch in wanted.get("patches", []):
        apply(yaml.safe_load((folder / patch["path"]).read_text()), documents)
    for document in documents:
        if "namespace" in wanted:
            document["metadata"]["namespace"] = wanted["namespace"]
        for label in wanted.get("labels", []):
            document["metadata"].setdefault("labels", {}).update(label["pairs"])
        for image in wanted.get("images", []):
            rename(document, image)
    return documents


def generate(folder, generator, documents):
    if generator["options"] != {"disableNameSuffixHash": True}:
        raise SystemExit(f"✘ {folder}: the name of {generator['name']} changes with its content, and pods restart")
    data = {name: (folder / name).read_text() for name in generator["files"]}
    name = generator["name"]
    if generator.get("behavior") == "replace":
        old = next(document for document in documents if document["kind"] == "ConfigMap" and document["metadata"]["name"] == name)
        old["data"] = data
        return
    documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


def apply(patch, documents):
    matches = [
        document
        for document in documents
        if (document["kind"], document["metadata"]["name"]) == (patch["kind"], patch["metadata"]["name"])
    ]
    if len(matches) != 1:
        raise SystemExit(f"✘ a patch for {patch['kind']} {patch['metadata']['name']} finds {len(matches)} objects")
    merge(matches[0], patch)


def merge(into, patch):
    for key, value in patch.items():
        old = into.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            merge(old, value)
        elif key in MERGE_KEYS and isinstance(old, list):
            by = MERGE_KEYS[key]
            for item in value:
                same = [candidate for candidate in old if candidate[by] == item[by]]
                merge(same[0], item) if same else old.append(item)
        else:
            into[key] = value


def rename(document, image):
    spec = document.get("spec", {}).get("template", {}).get("spec", {})
    for container in spec.get("initContainers", []) + spec.get("containers", []):
        if container["image"].split(":")[0] == image["name"]:
            container["image"] = f"{image['newName']}:{image['newTag']}"

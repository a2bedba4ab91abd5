"""An export on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from metatoken.artifacts import read_manifest
from metatoken.errors import ArgumentError, ArtifactError
from metatoken.model.store.card import HUB_NAME
from metatoken.model.store.export import KIND, SCHEMA


def push_export(folder: str | Path, name: str, *, public: bool = False) -> str:
    """Uploads an export as it stands, model card included; other files of the repository stay.

    Args:
        folder: What `export_model` wrote; every file is compared with its checksum first.
        name: OWNER/NAME of a repository of models, made where there is none.
        public: Let everybody see it. An export holds ids and titles of items, and of users where the model reads
            tokens of theirs.

    Returns:
        Address of the repository.

    Raises:
        ArgumentError: The name cannot be used, or names a repository that everybody sees although `public` is not set.
        ArtifactError: The folder is no export or was altered, or the hub refused it or could not be reached.
    """
    from huggingface_hub import HfApi

    check_name(name)
    read_manifest(folder, KIND, SCHEMA)
    api = HfApi()
    try:
        address, seen = str(api.create_repo(name, private=not public, exist_ok=True)), not api.repo_info(name).private
        if public or not seen:
            api.upload_folder(repo_id=name, folder_path=str(folder), commit_message="metatoken export")
    except Exception as error:  # of the hub or on the way: no token, not allowed, a name it cannot have, offline
        said = " ".join(str(error).split())[:300]
        raise ArtifactError(f"{name}: the hub did not take it ({said}); log in with `hf auth login`") from error
    if seen and not public:
        raise ArgumentError("push", f"everybody can see {name}; pass --public if they may, or give another name")
    return address


def check_name(name: str) -> None:
    """Refuses what cannot be a repository of somebody: `ArgumentError`."""
    if not HUB_NAME.fullmatch(name) or ".." in name:
        raise ArgumentError("push", f"expected OWNER/NAME, got {name[:100]!r}")

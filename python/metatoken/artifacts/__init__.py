"""Saved artifacts: folders of safetensors, Parquet and JSON with a manifest, written whole or not at all.

Everything here writes the same bytes for the same content, so that two runs can be compared with `cmp`. A folder is
built beside its place and exchanged for it at the end; reading checks every file against the checksum in
`manifest.json`. A file that is missing, altered or of another form is an `ArtifactError`, and so is a place that cannot
be written, whatever library found that out.
"""

from metatoken.artifacts.formats import (
    FORMAT,
    read_as,
    read_frame,
    read_json,
    read_tensors,
    sha256,
    write_frame,
    write_json,
    write_tensors,
)
from metatoken.artifacts.manifest import MANIFEST, OWN_SUM, read_header, read_manifest, write_manifest
from metatoken.artifacts.writing import atomic_file, atomic_folder, check_folder

__all__ = [
    "FORMAT",
    "MANIFEST",
    "OWN_SUM",
    "atomic_file",
    "atomic_folder",
    "check_folder",
    "read_as",
    "read_frame",
    "read_header",
    "read_json",
    "read_manifest",
    "read_tensors",
    "sha256",
    "write_frame",
    "write_json",
    "write_manifest",
    "write_tensors",
]

#!/bin/sh
# What `make wheel` made, as a person who downloads it would find it: metadata, contents, ABI, and an installation with
# each extra in an environment of its own. Several GB are installed, from uv's cache after the first time.
#
#     make wheel packaging                  # every extra
#     make packaging EXTRAS="serve text"    # these
#     make packaging EXTRAS=none            # no installation
set -eu
cd "$(dirname "$0")/.."
bin=$(cd "${BIN:-.venv-packaging/bin}" && pwd)
wheel=$(ls dist/*.whl)
source=$(ls dist/*.tar.gz)
[ "$(echo "$wheel" "$source" | wc -w)" -eq 2 ] || { echo "dist/ holds more than one build: make wheel" >&2; exit 1; }

"$bin/twine" check --strict "$wheel" "$source"
"$bin/abi3audit" --strict --summary --assume-minimum-abi3 3.11 "$wheel"
"$bin/check-wheel-contents" --toplevel metatoken "$wheel"
"$bin/python" tests/packaging.py "$wheel" "$source"
[ "${*:-}" = none ] && exit 0

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
wheel=$PWD/$wheel
extras=${*:-$("$bin/python" tests/packaging.py --extras)}
for extra in "" $extras; do
    echo "== metatoken${extra:+[$extra]}"
    rm -rf "$place/env"
    "$bin/uv" venv --quiet "$place/env"
    "$bin/uv" pip install --quiet --python "$place/env/bin/python" -c constraints.txt "$wheel${extra:+[$extra]}"
    # Outside of the checkout, so that nothing of it is imported.
    (cd "$place" && env -u PYTHONPATH env/bin/python "$OLDPWD/tests/packaging.py" --installed "$extra")
done

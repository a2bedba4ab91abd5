#!/bin/sh
# README.md from top to bottom, as a newcomer does it with a shop's log: as it is, and as another country writes it.
# Trainings are short; what is compared are counts, the items held out, and what filters let pass, each counted from the
# files by tests/newcomer.py with the standard library alone. Most of the time goes into starting commands, so the two
# logs are tried side by side, a core each.
#
#     tests/newcomer.sh FOLDER    # FOLDER holds log.csv and products.csv of the shop
set -eu
shop=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
place=$(mktemp -d)
trap 'wait; rm -rf "$place"' EXIT
cd "$place"
export OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 HF_HUB_OFFLINE=1
check() { "$python" "$here/newcomer.py" "$@"; }

# Settings that make a training short; README's own differ in these alone.
quick="--set trainer.max_epochs=1 --set tokens.dim=16 --set tokens.walks_per_node=2 --set tokens.epochs=1"
quick="$quick --set model.preset.dim=32 --set model.preset.layers=1 --set model.preset.heads=2 --set model.max_history=20"
quick="$quick --set trainer.validation_users=200 --set evaluate.fusion_users=200 --set threads=1"
quick="$quick --set evaluate.width=10 --set trainer.options={\"limit_train_batches\":20}"

at_home() {
    metatoken doctor > doctor.txt
    columns="--user customer --item product --time when"
    metatoken inspect log.csv --json --write config.yaml > looked.json 2> warnings.txt
    check looked looked.json log.csv
    # shellcheck disable=SC2086
    metatoken tokenize log.csv $columns --dim 16 --walks-per-node 2 --epochs 1 --threads 1 -o vocab/ > tokenized.txt 2>&1
    metatoken inspect vocab/ --id 'c,523' > near.txt
    check near near.txt log.csv
    # shellcheck disable=SC2086
    metatoken train config.yaml --vocabulary vocab/ -o run/ --set 'model.tasks=[sequential]' $quick > trained.txt 2>&1
    metatoken evaluate run/ --no-unseen --json > metrics.json 2> evaluated.txt
    metatoken recommend run/ --users "$here/newcomer_users.csv" --where 'in_stock == true and price < 50' -k 5 -o lists.csv
    metatoken recommend run/ --history 'emoji😀373,"c,523","x""390"""' -k 3 > anybody.txt
    check run run log.csv
    check lists lists.csv log.csv products.csv "$here/newcomer_users.csv"
    check anybody anybody.txt log.csv products.csv
}

abroad() {
    check translate log.csv products.csv abroad/ausland.csv abroad/waren.csv
    metatoken inspect abroad/ausland.csv --items abroad/waren.csv --write ausland.yaml > ausland.txt
    check understood ausland.yaml
    # shellcheck disable=SC2086
    metatoken train ausland.yaml -o fern/ --set 'model.tasks=[sequential, rating]' $quick > fern.txt
    check fern fern log.csv products.csv abroad/ausland.csv
    metatoken answer fern/ rating --user Ü1769 --item 0000684 > stars.txt
    check stars stars.txt
    metatoken quickstart --users 60 --items 40 --epochs 1 -o demo > quickstart.txt
    check quickstart quickstart.txt
}

cp "$shop/log.csv" "$shop/products.csv" .
mkdir abroad
echo "== the same shop in another country: ; latin-1, day-month-year, decimal commas, half of the ratings; quickstart"
abroad > abroad.log 2>&1 &
other=$!
echo "== two commands, then your own file"
at_home
wait "$other" || { cat abroad.log; exit 1; }
echo "newcomer: all values are right"

#!/usr/bin/env bash
# The whole product once, at most 15 minutes on two cores after downloads: collect TabletopPush,
# train a world model from scratch, rank a pool of policies with it and with the shipped model, and
# write both rankings into one report. Interrupted, the same command continues.
#
#   bash scripts/demo.sh [FOLDER]        default runs/demo
#   WORLDSIM_DEMO_EPISODES, WORLDSIM_DEMO_STARTS: episodes to train on, starts of the rankings
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh </dev/null

out=${1:-runs/demo}
episodes=${WORLDSIM_DEMO_EPISODES:-600}
starts=${WORLDSIM_DEMO_STARTS:-32}
# One or two of every kind of the pool.
policies='[expert,noise_low,noise_high,biased,slow,lagging,bc_1,bc_6,random,zero]'
began=$SECONDS

step() {
  echo "[$((SECONDS - began)) s] worldsim $*" >&2
  .venv/bin/worldsim "$@" </dev/null
}

rank() {
  step rank "only=$policies" starts.count="$starts" watch_simulator=false "$@"
}

step collect env=push episodes="$episodes" out="$out/data"
step train experiment=push_demo dataset="$out/data" out="$out/train"
rank model="$out/train" out="$out/from_scratch" \
  'report.title="Trained in this demo"'
# The simulator's side is the same for both models: same policies, same starts.
mkdir -p "$out/shipped"
shipped=$(realpath "$out/shipped")
(cd "$out/from_scratch" && cp --parents results/simulator/*.json films/*/*.simulator.npz "$shipped")
rank model=shipped/push out="$out/shipped" \
  'report.title="Shipped model"' "report.also=[$out/from_scratch]"
cp "$out/shipped/report.html" "$out/report.html"
echo "finished in $((SECONDS - began)) s" >&2
realpath "$out/report.html"

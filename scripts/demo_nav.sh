#!/usr/bin/env bash
# Navigation once, at most 15 minutes on two cores after downloads: collect walks through apartments, train a small world
# model and a judge of stops, clone a walker, and rank the pool in imagination against the simulator.
# Interrupted, the same command continues.
#
#   bash scripts/demo_nav.sh [FOLDER]        default runs/demo_nav
#   WORLDSIM_DEMO_EPISODES, WORLDSIM_DEMO_STARTS: episodes to train on, starts of the ranking
#   WORLDSIM_DEMO_MODEL: a world model with a judge of stops to rank with, instead of training one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh </dev/null

out=${1:-runs/demo_nav}
episodes=${WORLDSIM_DEMO_EPISODES:-400}
starts=${WORLDSIM_DEMO_STARTS:-12}
began=$SECONDS

step() {
  echo "[$((SECONDS - began)) s] worldsim $*" >&2
  .venv/bin/worldsim "$@" </dev/null
}

# Small apartments of the training split; the ranking takes others.
step collect env=indoor 'env.rooms=[2,4]' episodes="$episodes" out="$out/data"
model=${WORLDSIM_DEMO_MODEL:-}
if [[ -z $model ]]; then
  model=$out/train
  step train experiment=nav_tiny dataset="$out/data" out="$model"
fi
step train stage=policies policy_training=indoor_short dataset="$out/data" out="$out/policies"
step rank experiment=nav_rank 'env.rooms=[2,4]' model="$model" policy.checkpoints="$out/policies/walking/*" \
  starts.count="$starts" max_steps=60 films.starts=2 bootstrap_samples=1000 out="$out/ranking" \
  'report.title="Walkers ranked in imagination"'
cp "$out/ranking/report.html" "$out/report.html"
echo "finished in $((SECONDS - began)) s" >&2
realpath "$out/report.html"

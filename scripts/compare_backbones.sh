#!/usr/bin/env bash
# The two backbones at equal time, one after the other: tokenizer, latents, dynamics and plan are the same.
#
#   worldsim collect env=push episodes=4000 out=data/push
#   bash scripts/compare_backbones.sh data/push runs/backbones 600
#   bash scripts/compare_backbones.sh data/push runs/backbones_gpu 240 trainer.accelerator=gpu trainer.batch_size=64
#
# Seconds of training each, then overrides for both. WORLDSIM_BACKBONES names the models (tiny tiny_dit). What
# is there already is kept.
set -euo pipefail
data=$1 out=$2 seconds=$3
shift 3
worldsim=${WORLDSIM:-worldsim}
models=${WORLDSIM_BACKBONES:-tiny tiny_dit}

for model in $models; do
  for stage in tokenizer latents dynamics world; do
    $worldsim train experiment=push_plans plan=self_rollout model="$model" dataset="$data" out="$out/$model" \
      stage="$stage" trainer.max_time_s="$seconds" "$@"
  done
done
# shellcheck disable=SC2086  # one folder a model
python "$(dirname "$0")/validation_table.py" $(printf "$out/%s " $models)

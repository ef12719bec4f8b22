#!/usr/bin/env bash
# The table of docs/experiments/2026-11-25-training-plans.md: every training plan goes on from one denoiser
# that diffusion forcing trained, for the same time, and is measured over a minute of TabletopPush beside the
# simulator.
#
#   worldsim collect env=push episodes=4000 out=data/push
#   worldsim collect env=push env.max_episode_steps=600 steps_after_success=600 mixture=play \
#     episodes=32 seed=1 out=data/push_long
#   bash scripts/compare_plans.sh data/push data/push_long runs/plans
#
# One core, one thread; WORLDSIM_PLAN_SECONDS (480) of training each, twice that for the first. WORLDSIM_PLANS
# names the rows that are wanted. What is there already is kept, so an interrupted comparison goes on.
set -euo pipefail
data=$1 long=$2 out=$3
seconds=${WORLDSIM_PLAN_SECONDS:-480}
worldsim=${WORLDSIM:-worldsim}
export OMP_NUM_THREADS=1

train() { # folder, overrides
  local folder=$1 stage
  shift
  for stage in tokenizer latents dynamics world; do
    $worldsim train experiment=push_plans dataset="$data" out="$folder" stage="$stage" "$@"
  done
}

[[ -f $out/base/model/config.json ]] || train "$out/base" trainer.max_time_s=$((2 * seconds))

beside() { # name, overrides: train with the tokenizer and the latents of the base
  local name=$1 part
  shift
  [[ -f $out/$name/model/config.json ]] && return
  mkdir -p "$out/$name/stages"
  for part in tokenizer latents stages/tokenizer.json stages/latents.json; do
    [[ -e $out/$name/$part ]] || cp -rl "$out/base/$part" "$out/$name/$part"
  done
  train "$out/$name" "$@"
}

further() { # name, overrides: train on from the base
  local name=$1
  shift
  beside "$name" start_from="$out/base" reuse=null trainer.max_time_s="$seconds" trainer.lr=7e-4 "$@"
}

measure() { # row, model, overrides of the sampler
  local row=$1 model=$2
  shift 2
  [[ -f $out/drift/$row/drift.json ]] && return
  $worldsim drift dataset="$long" model="$out/$model" judge=shipped/push title="$row" \
    out="$out/drift/$row" max_steps=600 exchanged=8 "$@"
}

frames=(sampler.kind=autoregressive sampler.steps=2)
window=(sampler.kind=rolling sampler.steps=4 sampler.solver=renoise sampler.bidirectional=true)
rolls=(plan.rollout.start=0 plan.rollout.most_steps=2)
windows=(plan=rolling_forcing plan.rollout.start=0)

row() {
  local model=$1 sampler=("${window[@]}")
  case $1 in
    diffusion_forcing)
      sampler=("${frames[@]}")
      further "$1"
      ;;
    no_bodies) # frames are told the actions alone; afresh, for as long as base and row together
      sampler=("${frames[@]}")
      beside "$1" 'model.conditioners=[]' model.condition_on_state=false trainer.max_time_s=$((3 * seconds))
      ;;
    self_rollout | self_forcing | self_forcing_pp | dmd)
      sampler=("${frames[@]}")
      further "$1" plan="$1" "${rolls[@]}"
      ;;
    rolling_forcing) further "$1" "${windows[@]}" ;;
    no_mix) further "$1" "${windows[@]}" plan.rollout.rolling=1 ;;
    # As many frames of context, all of them recent.
    no_sink) further "$1" "${windows[@]}" model.sink=0 model.recent=8 ;;
    no_self_rollout)
      model=diffusion_forcing
      further "$model"
      ;;
    *) echo "unknown row $1" >&2 && exit 2 ;;
  esac
  measure "$1" "$model" "${sampler[@]}"
}

for name in ${WORLDSIM_PLANS:-no_bodies diffusion_forcing self_forcing_pp rolling_forcing no_self_rollout \
  self_rollout no_mix no_sink self_forcing dmd}; do
  row "$name"
done

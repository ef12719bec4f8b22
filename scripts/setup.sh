#!/usr/bin/env bash
# Makes .venv with the pinned packages and worldsim itself. Safe to run again; when nothing
# changed it ends at once.
#
#   WORLDSIM_PYTHON=python3.12      another interpreter (3.11 or newer) for a new .venv
#   WORLDSIM_TORCH_INDEX=URL        where torch comes from, such as
#                                   https://download.pytorch.org/whl/cpu on machines without a GPU
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

python=.venv/bin/python
stamp=.venv/worldsim-setup
gl_packages=(libegl1 libgl1-mesa-dri libegl-mesa0 libgles2)

say() { echo "setup: $*" >&2; }

fingerprint() {
  pwd
  cat constraints.txt pyproject.toml scripts/setup.sh
}

draws() {
  env -u MUJOCO_GL "$python" -c 'from worldsim.envs.gl import drawing_backend; drawing_backend()' 2>/dev/null
}

install_gl() {
  if [[ $(uname -s) != Linux ]] || draws; then return 0; fi
  if command -v apt-get >/dev/null && [[ $(id -u) == 0 ]]; then
    say "nothing draws here yet; installing Mesa EGL, which needs no display"
    apt-get update -q </dev/null >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
      "${gl_packages[@]}" </dev/null >/dev/null
  else
    say "nothing draws here yet; install EGL, on Debian and Ubuntu with:"
    say "  sudo apt-get install ${gl_packages[*]}"
  fi
}

make_venv() {
  local base=${WORLDSIM_PYTHON:-python3}
  if ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "$base is $("$base" -V 2>&1); worldsim needs Python 3.11 or newer (set WORLDSIM_PYTHON)"
    exit 1
  fi
  say "making .venv with $("$base" -V)"
  rm -rf .venv
  "$base" -m venv .venv
}

install_packages() {
  local torch
  torch=$(grep '^torch==' constraints.txt)
  # torch first: with it in place no other package pulls another build of it.
  say "installing $torch"
  "$python" -m pip install -qq -c constraints.txt "$torch" setuptools \
    ${WORLDSIM_TORCH_INDEX:+--index-url "$WORLDSIM_TORCH_INDEX" --extra-index-url https://pypi.org/simple}
  say "installing worldsim and the packages of constraints.txt"
  "$python" -m pip install -qq -c constraints.txt --no-build-isolation \
    -e ".[dev,rl,robotics,plot,tensorboard,web]"
}

now=$(fingerprint | sha256sum | cut -d' ' -f1)
if [[ -x $python && -f $stamp && $(<"$stamp") == "$now" ]]; then
  exit 0
fi
"$python" -c '' 2>/dev/null || make_venv
install_packages
install_gl
echo "$now" >"$stamp"
say "done; start with .venv/bin/worldsim doctor"

#!/bin/sh
# Installs the gateways that `cargo bench -- ai` measures beside MediaGenie into bench/peers/, which git ignores.
# `bench/peers.sh` takes all, `bench/peers.sh onwards crabllm` only those. What is not installed is not measured.
# Needed: cargo, python3 with venv, npm. About 1.5 GB and, on two cores, half an hour.
set -eu
cd "$(dirname "$0")"
mkdir -p peers
cd peers
: "${JOBS:=1}"

if [ $# -eq 0 ]; then
    set -- onwards crabllm portkey litellm
fi
for peer in "$@"; do
    case "$peer" in
    onwards) nice -n 15 cargo install onwards --version 1.2.0 --locked --jobs "$JOBS" --root onwards --target-dir target ;;
    crabllm) nice -n 15 cargo install crabllm --version 0.0.25 --locked --jobs "$JOBS" --root crabllm --target-dir target ;;
    portkey) mkdir -p portkey && nice -n 15 npm install --prefix portkey --no-audit --no-fund @portkey-ai/gateway@1.15.2 ;;
    litellm)
        python3 -m venv litellm
        nice -n 15 litellm/bin/pip install --quiet --disable-pip-version-check 'litellm[proxy]==1.106.0'
        ;;
    *)
        echo "unknown peer: $peer" >&2
        exit 2
        ;;
    esac
done
rm -rf target

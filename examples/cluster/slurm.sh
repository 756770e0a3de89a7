#!/usr/bin/env bash
# Slurm: one Ray node per machine of the job, the command on the first. Submit it again to resume: sbatch slurm.sh CONFIG
#SBATCH --job-name=winnow
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=24:00:00
set -euo pipefail

config=${1:-examples/cluster/config.yaml}
port=${RAY_PORT:-6379}
cpus=${SLURM_CPUS_PER_TASK:-$(nproc)}
first=$(hostname)
address=$(getent ahostsv4 "$first" | awk 'NR == 1 { print $1 }')
others=$((${SLURM_JOB_NUM_NODES:-1} - 1))

# Whoever reaches Ray's ports runs code as you: a token that only this job knows, no dashboard.
umask 077
RAY_AUTH_TOKEN_PATH=$(mktemp -p "${SLURM_SUBMIT_DIR:-$PWD}" .ray-token.XXXXXX)
head -c 32 /dev/urandom | base64 >"$RAY_AUTH_TOKEN_PATH"
export RAY_AUTH_TOKEN_PATH RAY_AUTH_MODE=token
# The nodes end with this script, however it ends.
trap 'kill $(jobs -p) 2>/dev/null || true; wait || true; rm -f "$RAY_AUTH_TOKEN_PATH"' EXIT

ray start --head --block --node-ip-address="$address" --port="$port" --num-cpus="$cpus" \
  --include-dashboard=false --disable-usage-stats &
until ray status --address="$address:$port" >/dev/null 2>&1; do sleep 2; done

if ((others > 0)); then
  srun --nodes="$others" --ntasks="$others" --exclude="$first" \
    ray start --block --address="$address:$port" --num-cpus="$cpus" --disable-usage-stats &
fi

# Workers are used as they join: no need to wait for all of them.
RAY_ADDRESS="$address:$port" python -m pipeline run "$config"

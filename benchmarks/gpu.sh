#!/usr/bin/env bash
# All that has to be seen on a GPU, in the order of what matters, each part within ten minutes.
#
#   benchmarks/gpu.sh                        all parts in order
#   benchmarks/gpu.sh tests|sampling|noise|training|sequential
#   benchmarks/gpu.sh --smoke [PART]         in miniature, on digits, where there is no GPU
#
# OUTPUT (gpu-results unless set) gets every figure as it comes; CIFAR the folder of CIFAR-10; PYTHON the interpreter.
# A part that is out of time goes on where it stopped when it is called again: `training` and `sequential` in pieces.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
python=${PYTHON:-python} output=${OUTPUT:-gpu-results} data=${CIFAR:-datasets} limit=${LIMIT:-570}
smoke=false
[ "${1:-}" = --smoke ] && smoke=true && shift
part=${1:-all} status=0
mkdir -p "$output"
quiet=(--wandb_mode disabled)

say() { # What one program says, to a file of its own and to the screen, until the part's time is over.
    local name=$1 left=$((deadline - SECONDS)); shift
    [ $left -gt 0 ] || { echo "out of time before $name" | tee -a "$output/$name.md"; return 0; }
    { cat "$output/about.md"; echo "+ $*"; } >>"$output/$name.md"
    timeout --signal=INT --kill-after=20 "$left" "$@" 2>&1 | tee -a "$output/$name.md"
    local ended=${PIPESTATUS[0]}
    case $ended in
        0) ;;
        124 | 130 | 137) echo "out of time: call the part again to go on" | tee -a "$output/$name.md" ;;
        *) echo "$name failed with status $ended" | tee -a "$output/$name.md"; status=1 ;;
    esac
}

about() {
    $python - "$output" <<'PYTHON'
import json, platform, subprocess, sys
import torch

facts = {"gpu": None, "driver": None, "torch": torch.__version__, "cuda": torch.version.cuda}
facts |= {"cudnn": torch.backends.cudnn.version(), "python": platform.python_version()}
if torch.cuda.is_available():
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(query, capture_output=True, text=True).stdout.split()
    facts |= {"gpu": torch.cuda.get_device_name(), "gpus": torch.cuda.device_count(), "driver": (driver or [None])[0]}
with open(f"{sys.argv[1]}/about.json", "w") as file:
    json.dump(facts, file, indent=1)
with open(f"{sys.argv[1]}/about.md", "w") as file:
    file.write(", ".join(f"{name} {value}" for name, value in facts.items()) + "\n")
PYTHON
    cat "$output/about.md"
}

tests() {
    say tests $python -m pytest -q -p no:cacheprovider tests/test_devices.py --override-ini addopts=--import-mode=importlib
    $smoke || say audit $python certify.py audit --quick
}

sampling() {
    if $smoke; then
        say sampling-digits_cnn $python benchmarks/sampling.py speed --models '[digits_cnn]' --n 200 --repeats 1 \
            --preparations '["", "channels_last, fold"]' --output "$output/sampling.jsonl"
        return
    fi
    for model in cifar_resnet110 cifar_resnet20 resnet50 vit_b_16; do
        say sampling-$model $python benchmarks/sampling.py speed --models "[$model]" --output "$output/sampling.jsonl"
    done
}

noise() {
    if $smoke; then
        say shares-digits_cnn $python benchmarks/shares.py --model digits_cnn --n 2000 --output "$output/shares.json"
        return
    fi
    for model in cifar_resnet110 resnet50; do
        say shares-$model $python benchmarks/shares.py --model $model --n 20000 --output "$output/shares-$model.json"
    done
    say noise $python benchmarks/noise.py speed
    say mechanisms $python benchmarks/mechanisms.py
}

recipes() { # Names and options of the trainings.
    if $smoke; then
        echo 0.25 "--trainer.max_epochs 2 --live_certification.every_n_epochs 0"
    else
        for sigma in 0.25 0.50 1.00; do
            echo $sigma "--config configs/cifar10/gaussian.yaml --data.data_dir $data --trainer.max_epochs ${EPOCHS:-150}"
        done
    fi
}

trained() { # Its own table comes last.
    [ -f "$output/runs/sigma$1/certification/table.csv" ]
}

training() { # One that was cut off is gone on with.
    while read -r sigma options; do
        local run=$output/runs/sigma$sigma
        if trained $sigma; then
            echo "the training of sigma $sigma is finished"
        elif [ -d "$run" ]; then
            say training-$sigma $python train.py --resume "$run" --wandb.mode disabled --trainer.enable_progress_bar false
        else
            say training-$sigma $python train.py $options --model.sigma $sigma --fast --runs "$output/runs" \
                --name sigma$sigma --wandb.mode disabled --trainer.enable_progress_bar false \
                --certification.n 100 --certification.limit 2
        fi
        certify $sigma fixed
    done < <(recipes)
}

sequential() {
    while read -r sigma _; do
        certify $sigma sequential --mechanisms '[sequential_betting]' --radii '[0, 0.25, 0.5, 0.75, 1]'
        certify $sigma incremental --like "$output/runs/sigma$sigma/fixed" --precision $($smoke && echo bfloat16 || echo float32)
    done < <(recipes)
}

certify() { # 500 images at n = 100,000, as published.
    local sigma=$1 name=$2; shift 2
    local checkpoint=$output/runs/sigma$sigma/checkpoints/last.ckpt
    trained $sigma || { echo "no training of sigma $sigma is finished"; return; }
    local size=(--n 100000 --skip 20 --fast)
    $smoke && size=(--n 200 --limit 4 --batch_size 100 --accelerator cpu)
    # What is incremental takes images and draws from the certification before.
    [ $name = incremental ] && size=("${size[@]:4}")
    say certified-$sigma-$name $python certify.py --checkpoint "$checkpoint" "${size[@]}" "$@" "${quiet[@]}" \
        --output "$output/runs/sigma$sigma/$name"
}

about
for each in tests sampling noise training sequential; do
    if [ "$part" = all ] || [ "$part" = $each ]; then
        deadline=$((SECONDS + limit))
        echo "== $each"
        $each
    fi
done
case $part in all | tests | sampling | noise | training | sequential) exit $status ;; esac
echo "unknown part $part: tests, sampling, noise, training or sequential" >&2
exit 2

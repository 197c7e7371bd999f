#!/usr/bin/env bash
# All that has to be seen on a GPU, in the order of what matters, each part within ten minutes.
#
#   benchmarks/gpu.sh                        all parts in order
#   benchmarks/gpu.sh tests|sampling|noise|loops|training|published|sequential
#   benchmarks/gpu.sh --smoke [PART]         in miniature, on digits, where there is no GPU
#
# OUTPUT (gpu-results unless set) gets every figure as it comes; CIFAR is the folder of CIFAR-10, PYTHON the interpreter,
# RECIPES what is trained: the names of configs/cifar10 with a sigma, as in 'gaussian-0.25 smoothadv-1.00'. Nothing is
# fetched; `python -c 'import torchvision; torchvision.datasets.CIFAR10("datasets", download=True)'` fetches CIFAR-10.
# What has ended well in OUTPUT is not run again, but for `tests` and `published`; a training and a certification that
# were out of time go on where they stopped, other programs begin anew:
#
#   while benchmarks/gpu.sh training; [ $? = 75 ]; do :; done
#
# Ends with 0; with 75 if a part was out of time; with 1 if one failed. Ctrl-C or SIGTERM ends what runs, too, and what it
# has said and written stays.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
python=${PYTHON:-python} data=${CIFAR:-datasets} limit=${LIMIT:-570}
parts=(tests sampling noise loops training published sequential)
smoke=false
[ "${1:-}" = --smoke ] && smoke=true && shift
part=${1:-all} status=0 unfinished=false
case " all ${parts[*]} " in
    *" $part "*) ;;
    *) echo "unknown part $part: ${parts[*]}" >&2; exit 2 ;;
esac

if $smoke && [ -z "${FORKING:-}" ]; then # Most of a miniature's time would go into importing the libraries ten times.
    export FORKING=true OMP_NUM_THREADS=1 JE_ARROW_MALLOC_CONF=background_thread:false
    exec "$python" -c '
import os, signal, subprocess, sys
sys.path.insert(0, "tests")
from forking import LIBRARIES, ForkServer
python = ForkServer(LIBRARIES, os.environ).python(os.environ)
script = subprocess.Popen(sys.argv[1:], env=os.environ | {"PYTHON": python})
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: script.send_signal(number))
sys.exit(script.wait())
' benchmarks/gpu.sh --smoke "$part"
fi

if $smoke; then
    family=digits recipes=${RECIPES:-gaussian-0.25}
    options=(--trainer.max_epochs 1 --live_certification.every_n_epochs 0)
    [ -n "${OUTPUT:-}" ] || { OUTPUT=$(mktemp -d); trap 'rm -rf "$OUTPUT"' EXIT; }
else
    others=(consistency-0.25 smoothmix-0.25 macer-0.25 smoothadv-0.25)
    family=cifar10 recipes=${RECIPES:-gaussian-0.25 gaussian-0.50 gaussian-1.00 ${others[*]}}
    options=(--data.data_dir "$data" ${EPOCHS:+--trainer.max_epochs "$EPOCHS"})
fi
output=${OUTPUT:-gpu-results}
quiet=(--wandb.mode disabled --trainer.enable_progress_bar false)

config() { # Of a recipe: its own, where more than sigma changes.
    local own=configs/$family/${1/-/_}.yaml
    [ -f "$own" ] && echo "$own" || echo "configs/$family/${1%-*}.yaml"
}
for recipe in $recipes; do
    # Two decimals, for so the files are named: of another spelling the settings of another sigma would be taken.
    [[ $recipe =~ ^[a-z_]+-[0-9]+\.[0-9]{2}$ && -f $(config "$recipe") ]] && continue
    echo "RECIPES must be names of configs/$family with a sigma, as in gaussian-0.25, got $recipe" >&2
    exit 2
done
mkdir -p "$output"

running='' screen=''

finish() { # Wait until nothing of what runs is left, and all that it said is written; returns its status.
    exec 3>&-
    wait "$running"
    local ended=$?
    kill -KILL -- "-$running" 2>/dev/null # Children that it left behind.
    wait "$screen"
    running=''
    return $ended
}

stop() { # What runs is in a process group of its own, where no Ctrl-C comes: it is handed on.
    trap '' HUP INT TERM
    running=${running:-$(jobs -p)} # It may just have been started.
    [ -n "$running" ] && { kill -s "$1" "$running"; finish; }
    exit $((128 + $(kill -l "$1")))
}
for signal in HUP INT TERM; do
    trap "stop $signal" "$signal"
done

say() { # What one program says, to a file of its own and to the screen, until the part's time is over.
    local name=$1 left=$((deadline - SECONDS)); shift
    [ $left -gt 0 ] || { echo "out of time before $name" | tee -a "$output/$name.md"; unfinished=true; return; }
    { cat "$output/about.md"; echo "+ $*"; } >>"$output/$name.md"
    exec 3> >(trap '' HUP INT TERM; tee -a "$output/$name.md")
    screen=$!
    set -m # Without job control, what is in the background is told to ignore SIGINT.
    timeout --signal=INT --kill-after=20 "$left" "$@" >&3 2>&1 3>&- &
    running=$!
    set +m
    finish
    local ended=$?
    if [ "$ended" = 0 ]; then
        echo finished >>"$output/$name.md"
    elif [ "$ended" = 124 ] || { [ "$ended" = 137 ] && [ $SECONDS -ge $deadline ]; }; then # Not what memory ended.
        echo "out of time: call the part again to go on" | tee -a "$output/$name.md"; unfinished=true
    else
        echo "$name failed with status $ended" | tee -a "$output/$name.md"; status=1
    fi
}

once() { # The same of a program that has not ended well yet.
    [ "$(tail -n 1 "$output/$1.md" 2>/dev/null)" = finished ] && { echo "$1 is finished"; return; }
    say "$@"
}

tests() {
    local few=()
    $smoke && few=(-k address) # The others are in the suite.
    say tests "$python" -m pytest -q -p no:cacheprovider tests/test_devices.py "${few[@]}" \
        --override-ini addopts=--import-mode=importlib
    $smoke || say audit "$python" certify.py audit --quick
}

sampling() {
    if $smoke; then
        once sampling-digits_cnn "$python" benchmarks/sampling.py speed --models '[digits_cnn]' --n 200 --repeats 1 \
            --preparations '["channels_last, fold"]' --output "$output/sampling.jsonl"
        return
    fi
    for model in cifar_resnet110 cifar_resnet20 resnet50 vit_b_16; do
        once sampling-$model "$python" benchmarks/sampling.py speed --models "[$model]" \
            --output "$output/sampling.jsonl"
    done
}

noise() {
    if $smoke; then
        once shares-digits_cnn "$python" benchmarks/shares.py --model digits_cnn --n 400 --batch_size 200 \
            --output "$output/shares.json"
        return
    fi
    for model in cifar_resnet110 resnet50; do
        once shares-$model "$python" benchmarks/shares.py --model $model --n 20000 --output "$output/shares-$model.json"
    done
    once noise "$python" benchmarks/noise.py speed
    once mechanisms "$python" benchmarks/mechanisms.py
}

loops() { # Training beside the published loops.
    if $smoke; then
        once loops-digits_cnn "$python" benchmarks/training.py speed --models '[digits_cnn]' --batch 8 --steps 1 \
            --turns 1 --objectives '[Gaussian, SmoothMix]'
        once accuracy "$python" benchmarks/training.py time --accuracy 1 --every 1 --limit 4 --max_epochs 1 --seeds 1
        return
    fi
    for objective in Gaussian Consistency SmoothMix SmoothAdv CATRS MACER; do # Each is compiled, which takes minutes.
        once loops-$objective "$python" benchmarks/training.py speed --models '[cifar_resnet110]' --batch 256 \
            --compiled true --objectives "[$objective]"
    done
    once accuracy "$python" benchmarks/training.py time --data_dir "$data" --accuracy 0.5 --seeds 1
}

certified() { # Its table comes last.
    [ -f "$output/runs/$1/$2/table.csv" ]
}

trained() { # So does that of a training's own certification.
    certified "$1" certification
}

train() { # One that was cut off is gone on with, from its last epoch.
    local run=$output/runs/$1
    if trained "$1"; then
        echo "the training of $1 is finished"
    elif [ -f "$run/checkpoints/last.ckpt" ]; then
        say "training-$1" "$python" train.py --resume "$run" "${quiet[@]}"
    else
        rm -rf "$run"
        say "training-$1" "$python" train.py --config "$(config "$1")" --model.sigma "${1##*-}" --fast "${options[@]}" \
            --runs "$output/runs" --name "$1" "${quiet[@]}" --certification.n 100 --certification.limit 2
    fi
}

training() {
    for recipe in $recipes; do
        train "$recipe"
        if $smoke; then # As if it had been cut off.
            rm -f "$output/runs/$recipe/certification/table.csv"
            train "$recipe"
        fi
        certify "$recipe" fixed
    done
}

published() { # What is certified, beside the published figures.
    local certifications=()
    for recipe in $recipes; do
        certified "$recipe" fixed &&
            certifications+=("--certifications+=${recipe%-*}=$output/runs/$recipe/fixed")
    done
    [ ${#certifications[@]} -gt 0 ] || { echo "nothing is certified"; unfinished=true; return; }
    say compared "$python" benchmarks/published_cifar10.py "${certifications[@]}" --output "$output/published.md"
}

sequential() {
    for recipe in $recipes; do
        certify "$recipe" sequential --mechanisms '[sequential_betting]' --radii '[0, 0.25, 0.5, 0.75, 1]'
        certified "$recipe" fixed || { echo "$recipe is not certified"; unfinished=true; continue; }
        certify "$recipe" incremental --like "$output/runs/$recipe/fixed" \
            --precision "$($smoke && echo bfloat16 || echo tf32)" # Which neither --fast nor the default ever chooses.
    done
}

certify() { # 500 images at n = 100,000, as published.
    local recipe=$1 name=$2; shift 2
    local checkpoint=$output/runs/$recipe/checkpoints/last.ckpt
    certified "$recipe" "$name" && { echo "$recipe is certified, $name"; return; }
    trained "$recipe" || { echo "the training of $recipe is not finished"; unfinished=true; return; }
    local size=(--n 100000 --skip 20 --fast)
    $smoke && size=(--n 200 --limit 4 --batch_size 100 --accelerator cpu)
    # What is incremental takes images and draws from the certification before.
    [ "$name" = incremental ] && size=("${size[@]:4}")
    say "certified-$recipe-$name" "$python" certify.py --checkpoint "$checkpoint" "${size[@]}" "$@" \
        --wandb_mode disabled --output "$output/runs/$recipe/$name"
}

"$python" benchmarks/machine.py "$output" || exit 1
for each in "${parts[@]}"; do
    if [ "$part" = all ] || [ "$part" = "$each" ]; then
        deadline=$((SECONDS + limit))
        echo "== $each"
        $each
    fi
done
[ $status = 0 ] && $unfinished && exit 75
exit $status

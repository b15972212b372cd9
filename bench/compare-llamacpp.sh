#!/bin/sh
# fude beside llama.cpp in one run: the same GGUF file, alternated processes, medians and their ratio.
#
#   bench/compare-llamacpp.sh FILE.gguf [--rounds 3] [--threads 2] [--prompt 512] [--new 32] [--depth 0] [--batch 1]
#   bench/compare-llamacpp.sh --config CONFIG.json --tokenizer MODEL --format q4_0 [...]
#
# With --config a file of random weights of that shape is made first (the tokenizer's vocabulary must fit the shape); --save FILE keeps it.
# LLAMA_BENCH is the path of a llama-bench command (or of one that takes -m -p -n -t -d -r -o json as it does). Where it is not set, the
# npm package node-llama-cpp, which brings llama.cpp's own builds for each kind of processor, is installed into a folder under
# ${XDG_CACHE_HOME:-~/.cache} and driven by bench/llama-bench.mjs; this needs Node.js. Nothing of it is part of fude.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${LLAMA_BENCH:-}" ]; then
    peer=${XDG_CACHE_HOME:-$HOME/.cache}/fude-bench/node-llama-cpp
    if [ ! -d "$peer/node_modules/node-llama-cpp" ]; then
        mkdir -p "$peer"
        (cd "$peer" && npm init -y >/dev/null && npm install --no-audit --no-fund node-llama-cpp@3.22.1 >&2)
    fi
    cp "$here/llama-bench.mjs" "$peer/llama-bench.mjs"
    LLAMA_BENCH="node $peer/llama-bench.mjs"
fi
export LLAMA_BENCH
exec dotnet run -c Release --project "$here/Fude.Bench" -- compare "$@"

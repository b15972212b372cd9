// A small llama-bench over node-llama-cpp: the options and the JSON that bench/compare-llamacpp.sh uses of the real one, and -b for
// sequences that are decoded side by side.
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const options = {};
for (let i = 2; i < process.argv.length; i += 2) options[process.argv[i]] = process.argv[i + 1];
const number = (name, absent) => options[name] === undefined ? absent : Number(options[name]);
const prompt = number("-p", 512), fresh = number("-n", 32), threads = number("-t", 2), depth = number("-d", 0);
const repetitions = number("-r", 1), sequences = number("-b", 1);

const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error, maxThreads: threads});
const model = await llama.loadModel({modelPath: options["-m"], gpuLayers: 0, useMmap: true});
const contextSize = Math.max(prompt, depth + fresh + 2) + 8;
const context = await model.createContext({contextSize, sequences, batchSize: 512, threads: {ideal: threads, min: threads}, flashAttention: true});
const all = Array.from({length: sequences}, () => context.getSequence());
const tokens = count => Array.from({length: count}, (_, i) => (i * 40503 + 17) % 1000 + 300);
const results = [];
const clear = () => Promise.all(all.map(sequence => sequence.clearHistory()));

// The sampler of node-llama-cpp is llama.cpp's; greedy costs next to nothing beside a forward pass.
async function write(sequence, first, count) {
    let written = 0;
    for await (const _ of sequence.evaluate(first, {temperature: 0, yieldEogToken: true}))
        if (++written === count) break;
}

if (prompt > 0) {
    const speeds = [];
    for (let run = 0; run <= repetitions; run++) {
        await clear();
        const start = performance.now();
        await all[0].evaluateWithoutGeneratingNewTokens(tokens(prompt));
        if (run > 0) speeds.push(prompt / (performance.now() - start) * 1000);
    }
    results.push({n_prompt: prompt, n_gen: 0, n_depth: 0, avg_ts: median(speeds)});
}
if (fresh > 0) {
    const speeds = [];
    for (let run = 0; run <= repetitions; run++) {
        await clear();
        if (depth > 0) for (const sequence of all) await sequence.evaluateWithoutGeneratingNewTokens(tokens(depth));
        await Promise.all(all.map((sequence, i) => write(sequence, [301 + i], 1)));
        const start = performance.now();
        await Promise.all(all.map((sequence, i) => write(sequence, [302 + i], fresh)));
        if (run > 0) speeds.push(sequences * fresh / (performance.now() - start) * 1000);
    }
    results.push({n_prompt: 0, n_gen: fresh, n_depth: depth, n_sequences: sequences, avg_ts: median(speeds)});
}
console.log(JSON.stringify(results));
process.exit(0);

function median(values) {
    values.sort((a, b) => a - b);
    return values[Math.floor(values.length / 2)];
}

// Speed of llama.cpp (in node-llama-cpp, its own CPU build) on one GGUF.
//
//   node llama_cpp.mjs MODEL.gguf THREADS DEPTH PREFILL DECODE map|copy
//
// Takes in DEPTH tokens unmeasured, then PREFILL tokens at once and DECODE tokens one by one, and
// prints {"prefill": tokens/s, "decode": tokens/s, "load_s": seconds} as one line of JSON.
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [path, ...numbers] = process.argv.slice(2, 7);
const mapped = process.argv[7] !== "copy";
const [threads, depth, prefill, decode] = numbers.map(Number);

const seconds = async (work) => {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
};
// Words of no meaning: random weights do not mind, and nothing repeats soon.
const tokens = (first, count) =>
  Array.from({ length: count }, (_, i) => 1000 + (((first + i) * 7919) % 90000));

const llama = await getLlama({
  gpu: false,
  build: "never",
  skipDownload: true,
  maxThreads: threads,
  logLevel: LlamaLogLevel.error,
});
let model;
const loaded = await seconds(async () => {
  model = await llama.loadModel({ modelPath: path, useMmap: mapped });
});
const context = await model.createContext({
  contextSize: depth + prefill + decode + 64,
  batchSize: 512,
  threads: { ideal: threads, min: threads },
});
const sequence = context.getSequence();
const take = (list) => sequence.evaluateWithoutGeneratingNewTokens(list);

// A first step pages the weights in and warms the threads.
await take(tokens(0, Math.max(depth, 8)));
const result = { load_s: loaded };
if (prefill > 0) {
  const spent = await seconds(() => take(tokens(depth, prefill)));
  result.prefill = prefill / spent;
}
if (decode > 0) {
  let count = 0;
  let begin = 0;
  const options = { temperature: 0, yieldEogToken: true };
  for await (const _ of sequence.evaluate(tokens(depth + prefill, 1), options)) {
    if (count === 0) begin = performance.now(); // the first one is the warm-up
    if (++count > decode) break;
  }
  result.decode = (count - 1) / ((performance.now() - begin) / 1000);
}
console.log(JSON.stringify(result));
process.exit(0); // the threads of llama.cpp would keep it

// Logits of llama.cpp (in node-llama-cpp, its own CPU build) for a list of tokens.
//
//   node llama_logits.mjs MODEL.gguf THREADS TOKENS.json OUT
//
// TOKENS.json: a list of ids. OUT: f32, little-endian, [tokens][vocabulary].
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [path, threads, tokensPath, out] = process.argv.slice(2);
const tokens = JSON.parse(readFileSync(tokensPath, "utf8"));
const kTogether = 64; // maps of all logits of so many tokens are in memory at a time

const llama = await getLlama({
  gpu: false,
  build: "never",
  skipDownload: true,
  maxThreads: Number(threads),
  logLevel: LlamaLogLevel.error,
});
const model = await llama.loadModel({ modelPath: path, useMmap: true });
const context = await model.createContext({
  contextSize: tokens.length + 64,
  batchSize: 512,
  threads: { ideal: Number(threads), min: Number(threads) },
});
const sequence = context.getSequence();
const file = openSync(out, "w");
for (let begin = 0; begin < tokens.length; begin += kTogether) {
  const some = tokens.slice(begin, begin + kTogether);
  const results = await sequence.controlledEvaluate(
    some.map((token) => [token, { generateNext: { logits: true } }]),
  );
  for (const { next } of results) {
    const row = new Float32Array(next.logits.size);
    for (const [token, logit] of next.logits) row[token] = logit;
    writeSync(file, new Uint8Array(row.buffer));
  }
  console.error(`llama.cpp: ${Math.min(begin + kTogether, tokens.length)} of ${tokens.length} tokens`);
}
closeSync(file);
process.exit(0); // the threads of llama.cpp would keep it

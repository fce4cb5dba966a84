// Streams one generation: node main.js --prompt TEXT [--address HOST:PORT]
"use strict";

const path = require("path");
const { parseArgs } = require("util");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const { values } = parseArgs({
  options: {
    address: { type: "string", default: "127.0.0.1:50051" },
    prompt: { type: "string", default: "The capital of France is" },
  },
});

// The protos are read when the program starts: there is no generated code to keep.
const root = path.join(__dirname, "..", "..", "protos");
const definition = loader.loadSync("bellhousing/v1/inference.proto", { includeDirs: [root], enums: String });
const { Inference } = grpc.loadPackageDefinition(definition).bellhousing.v1;
const client = new Inference(values.address, grpc.credentials.createInsecure());

// A deadline belongs to every call: the server ends the work when it passes, in the queue as well.
const deadline = new Date(Date.now() + 60_000);
const request = { text: values.prompt, sampling: { maxTokens: 16, temperature: 0 } };
const began = process.hrtime.bigint();
let ttft = 0;
let reason = "";

const call = client.Generate(request, { deadline });
call.on("data", ({ delta, finished }) => {
  if (delta) {
    ttft ||= Number(process.hrtime.bigint() - began) / 1e6;
    process.stdout.write(delta.text);
  }
  if (finished) reason = finished.sequences[0].finishReason;
});
call.on("error", (error) => {
  console.error(`\n${grpc.status[error.code]}: ${error.details}`);
  process.exitCode = 1;
});
call.on("end", () => {
  // A stream that ended well said why; one without a reason has failed, and "error" told how.
  if (reason) console.log(`\nTTFT ${ttft.toFixed(0)} ms, ended by ${reason}`);
  client.close();
});

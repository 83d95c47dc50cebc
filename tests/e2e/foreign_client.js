// A client in another language, from the .proto files or from reflection alone. Prints one JSON object.
// usage: node foreign_client.js ADDRESS PROTO_ROOT REFLECTION_DESCRIPTORS protos|reflection
const fs = require("fs");
const path = require("path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, protoRoot, reflectionDescriptors, way] = process.argv.slice(2);
const options = { keepCase: true, longs: Number, enums: String, defaults: true };
const credentials = grpc.credentials.createInsecure();

function unary(client, method, request, metadata = new grpc.Metadata()) {
  return new Promise((resolve, reject) =>
    client[method](request, metadata, { deadline: Date.now() + 10000 }, (error, answer) => (error ? reject(error) : resolve(answer)))
  );
}

// One question to the reflection service.
function ask(request) {
  const definition = loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(reflectionDescriptors), options);
  const { ServerReflection } = grpc.loadPackageDefinition(definition).grpc.reflection.v1alpha;
  const client = new ServerReflection(address, credentials);
  return new Promise((resolve, reject) => {
    const call = client.ServerReflectionInfo({ deadline: Date.now() + 10000 });
    call.on("data", (answer) => { call.end(); client.close(); resolve(answer); });
    call.on("error", reject);
    call.write(request);
  });
}

async function fromReflection() {
  const protobuf = require("protobufjs/ext/descriptor");
  const files = new Map();
  for (const symbol of ["reflexarc.v1.EventService", "reflexarc.v1.ScoringService"]) {
    const answer = await ask({ file_containing_symbol: symbol });
    const wanted = answer.file_descriptor_response.file_descriptor_proto.map((bytes) => protobuf.FileDescriptorProto.decode(bytes));
    while (wanted.length) {
      const file = wanted.pop();
      if (files.has(file.name)) continue;
      files.set(file.name, file);
      for (const name of file.dependency || []) {
        if (files.has(name)) continue;
        const more = await ask({ file_by_filename: name });
        more.file_descriptor_response.file_descriptor_proto.forEach((bytes) => wanted.push(protobuf.FileDescriptorProto.decode(bytes)));
      }
    }
  }
  const set = protobuf.FileDescriptorSet.create({ file: [...files.values()] });
  return loader.loadFileDescriptorSetFromBuffer(Buffer.from(protobuf.FileDescriptorSet.encode(set).finish()), options);
}

async function main() {
  const listed = await ask({ list_services: "*" });
  const services = listed.list_services_response.service.map((service) => service.name).sort();
  const definition = way === "reflection" ? await fromReflection() : loader.loadSync(
    ["event_service", "scoring_service"].map((name) => path.join("reflexarc_proto", "v1", name + ".proto")),
    { ...options, includeDirs: [protoRoot] }
  );
  const api = grpc.loadPackageDefinition(definition).reflexarc.v1;
  const events = new api.EventService(address, credentials);
  const scoring = new api.ScoringService(address, credentials);
  const event = {
    event_id: "from-node-" + way, event_type: "page_view", subject: { kind: "SUBJECT_KIND_KNOWN", id: "node" },
    event_time: 1700000000000,
    // Read back from descriptors, this loader shows a map as the list of entries it is on the wire.
    properties: way === "reflection" ? [{ key: "page_url", value: { string_value: "/node" } }] : { page_url: { string_value: "/node" } },
  };
  const first = await unary(events, "Track", { events: [event] });
  const second = await unary(events, "Track", { events: [event] });
  const scored = await unary(scoring, "Score", { model_id: "churn", feature_names: ["engagement_score", "usage_frequency", "support_tickets"], rows: [{ values: [0.5, 0.25, 0] }], lines: [0.7] });
  console.log(JSON.stringify({
    services, first: first.verdicts[0].code, second: second.verdicts[0].code,
    score: scored.results[0].score, confidences: scored.results[0].confidences, inputs: scored.inputs,
  }));
}

main().then(() => process.exit(0), (error) => { console.error(String(error.stack || error)); process.exit(1); });

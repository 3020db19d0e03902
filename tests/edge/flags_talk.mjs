// OpenFeature's SDK for Node.js asks Ringway by its OFREP provider what is asked on standard input, and writes what came.
//
//   node flags_talk.mjs FOLDER-WITH-NODE_MODULES URL < questions.json

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const [folder, baseUrl] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { OpenFeature } = require("@openfeature/server-sdk");
const { OFREPProvider } = require("@openfeature/ofrep-provider");

await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl }));
const client = OpenFeature.getClient();
const answers = [];
for (const { flag, context } of JSON.parse(await text(process.stdin))) {
  const { value, variant, reason, errorCode, flagMetadata } = await client.getStringDetails(flag, "default", context);
  answers.push({ value, variant, reason, errorCode, flagMetadata });
}
await OpenFeature.close();
process.stdout.write(JSON.stringify(answers));

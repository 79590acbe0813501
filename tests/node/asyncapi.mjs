// What the AsyncAPI initiative's own parser finds wrong with a document: one line each, nothing where all is well.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
for (const { code, message, path } of diagnostics) console.log(`${code} at ${path.join("/")}: ${message}`);
process.exitCode = diagnostics.length ? 1 : 0;

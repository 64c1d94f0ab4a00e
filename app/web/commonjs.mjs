// Makes the CommonJS entry when the package is packed: the same code with other exports.

import { readFileSync, renameSync, writeFileSync } from "node:fs";

const at = (name) => new URL(name, import.meta.url);
// Renamed into place, so that no reader sees half of it.
const write = (name, text) => {
  const unfinished = `${name}.${process.pid}`;
  writeFileSync(at(unfinished), text);
  renameSync(at(unfinished), at(name));
};

const module = readFileSync(at("doorstep.js"), "utf8");
const classes = [...module.matchAll(/^export class (\w+)/gm)].map(([, name]) => name);
const script = module.replace(/^export class /gm, "class ");
if (classes.length === 0 || /^(export|import)\b/m.test(script)) throw new Error("doorstep.js has exports other than classes, or imports");
write("doorstep.cjs", `"use strict";\n${script}\nmodule.exports = { ${classes.join(", ")} };\n`);
// `require` needs declarations of its own; they are the same.
write("doorstep.d.cts", readFileSync(at("doorstep.d.ts"), "utf8"));

// The types match the code: the same exports, members and options. consumer.ts uses each of them. TypeScript is
// at the path in TYPESCRIPT.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";

import * as client from "../../app/web/doorstep.js";

const ts = createRequire(import.meta.url)(process.env.TYPESCRIPT);
const source = (path) => ts.createSourceFile(path, readFileSync(new URL(path, import.meta.url), "utf8"), ts.ScriptTarget.Latest, true);
const types = source("../../app/web/doorstep.d.ts");
const script = source("../../app/web/doorstep.js");
const isExported = (node) => node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
const named = (node) => (node.name && !ts.isPrivateIdentifier(node.name) ? [node.name.text] : []);
const classes = types.statements.filter((node) => ts.isClassDeclaration(node) && isExported(node));
const interfaceOf = (name) => types.statements.find((node) => ts.isInterfaceDeclaration(node) && node.name.text === name);
const sorted = (names) => [...new Set(names)].sort();

test("exactly the declared classes are exported", () => {
  assert.deepEqual(sorted(classes.flatMap(named)), sorted(Object.keys(client)));
});

test("each class has exactly the declared public members", () => {
  for (const declared of classes) {
    const members = declared.members.flatMap(named);
    const { constructor, ...has } = Object.getOwnPropertyDescriptors(client[declared.name.text].prototype);
    assert.deepEqual(sorted(members), sorted(Object.keys(has)), declared.name.text);
  }
});

test("the declared options are those with a default, and the three without", () => {
  const names = interfaceOf("Options").members.flatMap(named);
  const isDefaults = (node) => ts.isVariableStatement(node) && node.declarationList.declarations[0].name.text === "DEFAULTS";
  const defaults = script.statements.find(isDefaults).declarationList.declarations[0].initializer.properties.flatMap(named);
  assert.deepEqual(sorted(names), sorted([...defaults, "token", "url", "WebSocket"]));
});

test("the declared events are those of the client", () => {
  const isOwn = (node) => ts.isVariableStatement(node) && node.declarationList.declarations[0].name.text === "OWN_EVENTS";
  const own = script.statements.find(isOwn).declarationList.declarations[0].initializer.arguments[0].elements;
  assert.deepEqual(sorted(interfaceOf("Events").members.flatMap(named)), sorted(own.map(({ text }) => text)));
});

test("the consumer uses every declared name", () => {
  const used = new Set();
  const visit = (node) => {
    if (ts.isIdentifier(node) || ts.isStringLiteral(node)) used.add(node.text);
    ts.forEachChild(node, visit);
  };
  visit(source("consumer.ts"));
  const declared = types.statements.filter(isExported).flatMap((node) => [
    ...named(node),
    ...(node.members ?? []).flatMap(named),
    ...(node.members ?? []).flatMap(({ type }) => (type && ts.isTypeLiteralNode(type) ? type.members.flatMap(named) : [])),
  ]);
  assert.ok(declared.length > 40, declared.join());
  assert.deepEqual(sorted(declared).filter((name) => !used.has(name)), []);
});

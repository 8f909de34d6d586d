// Where the golden vectors and the scenarios lie, which the page shares with the Rust crates.

import { readdirSync, readFileSync } from "node:fs";

const FOLDER = new URL("../../../chat-proto/vectors/", import.meta.url);

export function load(path) {
  return JSON.parse(readFileSync(new URL(path, FOLDER), "utf8"));
}

/** `[name, content]` of each JSON file of a folder, in the order of their names. */
export function loadAll(folder) {
  const files = readdirSync(new URL(`${folder}/`, FOLDER)).sort();
  return files.map((file) => [file, load(`${folder}/${file}`)]);
}

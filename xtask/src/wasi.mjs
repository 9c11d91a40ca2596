// Runs a WebAssembly command under node: node wasi.mjs PROGRAM.wasm ARGUMENTS
import { readFile } from "node:fs/promises";
import { argv, env, exit } from "node:process";
import { WASI } from "node:wasi";

const [program, ...words] = argv.slice(2);
const wasi = new WASI({ version: "preview1", args: [program, ...words], env });
const module = await WebAssembly.compile(await readFile(program));
exit(wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject())));

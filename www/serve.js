// Serves dist/ for work on the page. Every requested page is bundled anew, so edit and reload. The wasm
// modules and the models are those that `cargo xtask web` put there.
//   npm run dev             then open the printed address
import { access, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "./build.js";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".map": "application/json", ".wasm": "application/wasm" };

const folder = resolve(process.argv[2] ?? fileURLToPath(new URL("../dist", import.meta.url)));
const module = join(folder, "mixwell-cpu_bg.wasm");
await access(module).catch(() => {
  throw new Error(`${module} is missing: run "cargo xtask web" once.`);
});

const server = createServer(async (request, response) => {
  const path = new URL(request.url ?? "/", "http://localhost").pathname.replace(/\/$/, "/index.html");
  if (path.endsWith(".html")) {
    try {
      await build(folder);
    } catch (error) {
      response.writeHead(500, { "content-type": "text/plain" }).end(String(error));
      return;
    }
  }
  const file = normalize(join(folder, path));
  const content = file.startsWith(folder + sep) ? await readFile(file).catch(() => null) : null;
  if (!content) {
    response.writeHead(404).end("not found");
    return;
  }
  const type = TYPES[/** @type {keyof typeof TYPES} */ (extname(path))] ?? "application/octet-stream";
  response.writeHead(200, { "content-type": type, "cache-control": "no-store", "content-length": content.byteLength }).end(content);
});
server.listen(Number(process.env.PORT ?? 8080), "localhost", () => console.log(`http://localhost:${process.env.PORT ?? 8080}/`));

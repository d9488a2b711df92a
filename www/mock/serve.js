// Serves the site with the mock in place of the two wasm builds. Every requested page is rebuilt,
// so edit and reload.
//   npm run mock            then open the printed address
import { readFile } from "node:fs/promises";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize, sep } from "node:path";
import { writeMock } from "./dist.js";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".map": "application/json" };

const folder = mkdtempSync(join(tmpdir(), "mixwell-mock-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit());

const server = createServer(async (request, response) => {
  const path = new URL(request.url ?? "/", "http://localhost").pathname.replace(/\/$/, "/index.html");
  if (path.endsWith(".html")) {
    try {
      await writeMock(folder);
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
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const headers = { "content-type": TYPES[extname(path)] ?? "application/octet-stream", "cache-control": "no-store", "content-length": content.byteLength - from };
  if (from > 0) headers["content-range"] = `bytes ${from}-${content.byteLength - 1}/${content.byteLength}`;
  response.writeHead(from > 0 ? 206 : 200, headers).end(content.subarray(from));
});
server.listen(Number(process.env.PORT ?? 8080), () => console.log(`http://localhost:${server.address().port}/`));

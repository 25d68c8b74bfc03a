/** The loopback server of the page, ONNX Runtime Web and the files of the request; it counts the bytes it sends. */

import { readFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";

const PAGE = fileURLToPath(new URL("../page/", import.meta.url));
const TYPES = { ".html": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm" };
/** Without them the page has no threads and a coarse clock. */
const ISOLATION = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

/**
 * Serve on a free port of the loopback interface.
 *
 * @param {string} dist folder of ONNX Runtime Web's bundles
 * @param {(name: string) => Promise<Buffer>} read reads a file of the request
 */
export async function serve(dist, read) {
  const sent = { page: 0, runtime: 0, model: 0 };
  const folders = { page: PAGE, ort: dist };
  const respond = async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const [, top, ...rest] = pathname.split("/");
    try {
      const name = rest.join("/") || "index.html";
      const body = top === "files" ? await read(name) : await readFile(path.join(folders[top], path.basename(name)));
      const part = { page: "page", ort: "runtime" }[top] ?? (name === "model" ? "model" : null);
      if (part) sent[part] += body.length;
      const type = TYPES[path.extname(name)] ?? "application/octet-stream";
      response.writeHead(200, { ...ISOLATION, "Content-Type": type, "Content-Length": body.length }).end(body);
    } catch ({ kind = null, message, hint }) {
      const status = kind ? 422 : 404;
      response.writeHead(status, ISOLATION).end(JSON.stringify({ kind: kind ?? "internal", message, hint }));
    }
  };
  const server = http.createServer(respond);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `http://127.0.0.1:${server.address().port}/page/`,
    sent,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

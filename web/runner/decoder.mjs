/** Image files in Node.js: decoded by sharp, as a browser does it. */

import { pathToFileURL } from "node:url";

import { moduleFile } from "./modules.mjs";

/** Return the function that decodes an image on `threads`, and the library that decodes JPEG files. */
export async function decoder(threads) {
  const { default: sharp } = await import(pathToFileURL(moduleFile("sharp")));
  sharp.concurrency(threads);
  sharp.cache(false);
  const { mozjpeg } = sharp.versions;
  const decode = async (bytes) => {
    const image = sharp(bytes, { failOn: "truncated", ignoreIcc: true, limitInputPixels: false }).autoOrient();
    const options = { resolveWithObject: true };
    const { data, info } = await image.removeAlpha().toColourspace("srgb").raw().toBuffer(options);
    return { data, ...info };
  };
  return { decode, library: mozjpeg ? `mozjpeg ${mozjpeg}` : null };
}

/** Return a Buffer's bytes without the pool that they lie in. */
export function exact({ buffer, byteOffset, byteLength }) {
  return buffer.byteLength === byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength);
}

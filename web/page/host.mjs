/** What a page or a worker of a browser gives to `Bench`, and what it knows of itself. */

/** Workers that were started: the runtime's threads but its own. */
let workers = 0;
globalThis.Worker = class extends Worker {
  constructor(...parameters) {
    super(...parameters);
    workers += 1;
  }
};

/** Return the number of threads of the runtime. */
export const threads = () => 1 + workers;

/** Return the pixels of an image file. */
export async function decode(bytes) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
  const bitmap = await createImageBitmap(new Blob([bytes]), options);
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { data: context.getImageData(0, 0, width, height).data, width, height, channels: 4 };
}

/** Return the smallest step of the clock in nanoseconds. */
export function clockStep() {
  const steps = [];
  for (let before = performance.now(); steps.length < 20; ) {
    const now = performance.now();
    if (now > before) steps.push(now - before);
    before = now;
  }
  return Math.round(Math.min(...steps) * 1e6);
}

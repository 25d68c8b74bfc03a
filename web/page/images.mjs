/** Image files to a tensor: the header, and the resizing of Pillow. The host decodes: a browser, or sharp in Node. */

import { RunnerError } from "./failure.mjs";

const MAX_PIXELS = 178_956_970;
/** Fixed-point digits of Pillow's coefficients. */
const BITS = 22;

const CUBIC = -0.5;
const FILTERS = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, at: cubic },
};

function cubic(signed) {
  const x = Math.abs(signed);
  if (x < 1) return ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * CUBIC : 0;
}

/**
 * Return the format of an image file, if its pixels can be had as they are: see protocol/README.md, Images.
 *
 * @param {Uint8Array} bytes content of the file
 * @param {string} path its name in messages
 */
export function inspect(bytes, path) {
  const format = formatOf(bytes);
  if (!format) throw unreadable(`image ${path}: not a JPEG, PNG or WebP file, which this runner reads`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { width, height, plain } = HEADERS[format](bytes, view);
  if (width * height > MAX_PIXELS) {
    const message = `image ${path}: ${width} x ${height} is more than ${MAX_PIXELS} pixels`;
    throw new RunnerError("image-too-large", message, "scale it down first");
  }
  if (!plain) throw damaged(path, format);
  return format;
}

/** Return the failure for a file that its decoder refuses. */
export function damaged(path, format) {
  return unreadable(`image ${path}: damaged, truncated or unsupported ${format} file`);
}

/**
 * Resize, crop and normalise an image as Pillow does, into `tensor`.
 *
 * @param {{data: Uint8Array, width: number, height: number, channels: number}} image
 * @param {{resize: number, crop: number, interpolation: string, mean: number[], std: number[]}} spec
 * @param {Float32Array} tensor [3, crop, crop], written
 */
export function preprocess(image, spec, tensor) {
  const { resize, crop, interpolation } = spec;
  const shorter = Math.min(image.width, image.height);
  const [across, down] = [image.width, image.height].map((side) => {
    const scaled = Math.floor((resize * side) / shorter);
    const begin = (Math.floor((scaled - crop) / 2) * side) / scaled;
    return weights(side, begin, Math.min(begin + (crop * side) / scaled, side), crop, FILTERS[interpolation]);
  });
  // Pillow's order, which decides where overshoots are clipped
  const downFirst = image.height > crop && image.height - crop > 2 * (image.width - crop);
  const [leading, trailing] = downFirst ? [down, across] : [across, down];
  const narrowed = resizeOneWay(image, leading, downFirst, trailing.first, trailing.last, 0);
  const { data } = resizeOneWay(narrowed, trailing, !downFirst, 0, crop, trailing.first);
  for (let channel = 0; channel < 3; channel += 1) {
    const [mean, std] = [Math.fround(spec.mean[channel]), Math.fround(spec.std[channel])];
    const plane = channel * crop * crop;
    for (let place = 0; place < crop * crop; place += 1) {
      tensor[plane + place] = Math.fround(data[place * 3 + channel] - mean) / std;
    }
  }
}

/**
 * Return, for each of `size` output pixels, the input pixels from `left` to `right` that it is made of, as Pillow's
 * precompute_coeffs does: the edges are float32.
 */
function weights(side, left, right, size, filter) {
  const begin = Math.fround(left);
  const scale = Math.fround(Math.fround(right) - begin) / size;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const pixels = Array.from({ length: size }, (_, place) => {
    const centre = begin + (place + 0.5) * scale;
    const from = Math.max(Math.trunc(centre - support + 0.5), 0);
    const to = Math.min(Math.trunc(centre + support + 0.5), side);
    const share = (_, tap) => filter.at((from + tap - centre + 0.5) * (1 / stretch));
    const shares = Float64Array.from({ length: to - from }, share);
    const total = shares.reduce((sum, one) => sum + one, 0);
    const fixed = Int32Array.from(shares, (one) => {
      const scaled = (one / total) * (1 << BITS);
      return scaled < 0 ? Math.trunc(scaled - 0.5) : Math.trunc(scaled + 0.5);
    });
    return { from, fixed };
  });
  const last = pixels.at(-1);
  return { pixels, first: pixels[0].from, last: last.from + last.fixed.length };
}

/** Resize the lines from `begin` to `end` of an image along one axis, whose first pixel is `origin`; return RGB. */
function resizeOneWay({ data, width, channels }, { pixels }, vertical, begin, end, origin) {
  const [size, count] = [pixels.length, end - begin];
  const [step, pitch] = vertical ? [width * channels, channels] : [channels, width * channels];
  const [madeStep, madePitch] = vertical ? [count * 3, 3] : [3, size * 3];
  const made = new Uint8Array(size * count * 3);
  for (let line = begin; line < end; line += 1) {
    for (let place = 0; place < size; place += 1) {
      const { from, fixed } = pixels[place];
      let [red, green, blue] = [1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)];
      let source = line * pitch + (from - origin) * step;
      for (let tap = 0; tap < fixed.length; tap += 1, source += step) {
        red += data[source] * fixed[tap];
        green += data[source + 1] * fixed[tap];
        blue += data[source + 2] * fixed[tap];
      }
      const target = (line - begin) * madePitch + place * madeStep;
      made[target] = clip(red);
      made[target + 1] = clip(green);
      made[target + 2] = clip(blue);
    }
  }
  return { data: made, width: vertical ? count : size, height: vertical ? size : count, channels: 3 };
}

function clip(sum) {
  const value = sum >> BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

function formatOf(bytes) {
  const text = textOf(bytes, 0, 12);
  if (text.startsWith("\xff\xd8\xff")) return "JPEG";
  if (text.startsWith("\x89PNG\r\n\x1a\n")) return "PNG";
  return text.startsWith("RIFF") && text.endsWith("WEBP") ? "WebP" : null;
}

/** By format: width and height in the header, 0 if unknown, and whether a canvas keeps such an image as it is. */
const HEADERS = {
  JPEG(bytes, view) {
    let place = 2;
    while (place + 9 < bytes.length) {
      const marker = bytes[place + 1];
      if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
        const plain = bytes[place + 9] !== 4; // no CMYK
        return { width: view.getUint16(place + 7), height: view.getUint16(place + 5), plain };
      }
      place += marker === 0xff ? 1 : 2 + view.getUint16(place + 2);
    }
    return { width: 0, height: 0, plain: true };
  },

  PNG(bytes, view) {
    if (bytes.length < 26) return { width: 0, height: 0, plain: false };
    let plain = !(bytes[25] & 4); // no alpha
    for (let place = 8; plain && place + 12 <= bytes.length && textOf(bytes, place + 4, 4) !== "IDAT"; ) {
      if (textOf(bytes, place + 4, 4) === "tRNS") plain = false;
      place += 12 + view.getUint32(place);
    }
    return { width: view.getUint32(16), height: view.getUint32(20), plain };
  },

  // sides have at most 16384 pixels; an extended header has alpha, frames, or an orientation, which Chromium ignores
  WebP(bytes) {
    const kind = textOf(bytes, 12, 4);
    return { width: 0, height: 0, plain: kind === "VP8 " || (kind === "VP8L" && !(bytes[24] & 0x10)) };
  },
};

function textOf(bytes, begin, length) {
  return String.fromCharCode(...bytes.subarray(begin, begin + length));
}

function unreadable(message) {
  return new RunnerError("image-unreadable", message, "convert it to an RGB JPEG or PNG file");
}

/** The device behind a provider. A GPU that is emulated on the CPU is called software. */

const EMULATORS = ["SwiftShader", "llvmpipe", "lavapipe", "Microsoft Basic Render"];

/**
 * Return the device that `provider` would compute on, or the reason why it cannot be used.
 *
 * @returns {Promise<{name: string | null} | {missing: string}>}
 */
export async function device(provider) {
  return (await DEVICES[provider]?.()) ?? { name: null };
}

const DEVICES = {
  async webgpu() {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) return { missing: "this browser finds no adapter for WebGPU" };
    const { vendor, architecture, device: model, description } = adapter.info;
    const words = [description || model, vendor, architecture].filter(Boolean);
    return { name: named(words.join(", ") || "unnamed adapter", adapter.info.isFallbackAdapter) };
  },

  async webgl() {
    const context = new OffscreenCanvas(1, 1).getContext("webgl2");
    if (!context) return { missing: "this browser has no WebGL 2" };
    const extension = context.getExtension("WEBGL_debug_renderer_info");
    const name = context.getParameter(extension ? extension.UNMASKED_RENDERER_WEBGL : context.RENDERER);
    context.getExtension("WEBGL_lose_context")?.loseContext();
    return { name: named(name) };
  },

  async webnn() {
    try {
      const context = await navigator.ml.createContext({ deviceType: "cpu" });
      context.destroy?.();
    } catch (error) {
      return { missing: navigator.ml ? `WebNN: ${error.message}` : "this browser has no WebNN" };
    }
    return { name: "WebNN on the CPU" };
  },
};

function named(name, fallback = false) {
  const emulator = EMULATORS.find((known) => name.toLowerCase().includes(known.toLowerCase()));
  return emulator || fallback ? `${emulator ?? name} (software)` : name;
}

/** Runner of the targets on ONNX Runtime Web: main.mjs TARGET --request FILE --result FILE, or --capabilities. */

// the clock is read before any module is loaded
const began = process.hrtime.bigint();
const { main } = await import("./program.mjs");
await main(process.argv.slice(2), began);

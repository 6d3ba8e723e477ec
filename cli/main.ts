import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Beside the code, so that the cache is trusted exactly as far as the code is: a shared temporary folder would let any
// local user plant one. Where the folder cannot be written, there is no cache.
enableCompileCache(fileURLToPath(new URL('.compile-cache', import.meta.url)));

const { main } = await import('./program.js');
await main(process.argv.slice(2));

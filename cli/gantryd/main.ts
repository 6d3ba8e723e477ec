import { enableCompileCache, flushCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Beside the code, so that the cache is trusted exactly as far as the code is. Where the folder cannot be written, there is none.
enableCompileCache(fileURLToPath(new URL('.compile-cache', import.meta.url)));

await import('./daemon.js');
// Else it is written when the process ends by itself, and a daemon seldom does.
setTimeout(flushCompileCache, 5000).unref();

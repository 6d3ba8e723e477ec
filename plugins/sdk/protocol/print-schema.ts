import { publishedSchema } from './published-schema.js';

process.stdout.write(`${JSON.stringify(publishedSchema(), undefined, 2)}\n`);

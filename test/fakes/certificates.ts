import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A certificate authority, a server and a client of it, made by openssl in a folder. */
export function certificates(where: string) {
  const run = (...args: string[]): void => void execFileSync('openssl', args, { cwd: where, stdio: 'ignore' });
  run(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-subj',
    '/CN=ca',
    '-days',
    '2',
  );
  for (const name of ['localhost', 'client']) {
    writeFileSync(join(where, `${name}.ext`), 'subjectAltName=DNS:localhost');
    run(
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      `/CN=${name}`,
    );
    run(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-out',
      `${name}.pem`,
      '-days',
      '2',
      '-extfile',
      `${name}.ext`,
    );
  }
  const read = (name: string): string => readFileSync(join(where, name), 'utf8');
  return {
    server: { cert: read('localhost.pem'), key: read('localhost.key'), ca: read('ca.pem') },
    client: { cert: read('client.pem'), key: read('client.key'), ca: read('ca.pem') },
  };
}

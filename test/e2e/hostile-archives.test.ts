import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { archive } from '../conformance/archive.js';
import { type HostileArchive, hostileArchives, hostileLayers } from '../conformance/hostile-archives.js';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();
const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** What the engine said: an error's message, in the answer or in a stream of progress, or nothing. */
type Refusal = string | undefined;

describe.skipIf(reason)(`archives that mean harm${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  beforeAll(async () => {
    trial = await openTrial();
  });
  afterAll(async () => {
    if (trial) expect(await trial.close()).toEqual({});
  });

  const call = (method: string, path: string, body: Buffer): Promise<Refusal> =>
    new Promise((done, fail) => {
      const sent = request(
        { socketPath: trial.engine.socket, method, path, headers: { 'content-type': 'application/x-tar', 'content-length': body.length } },
        (answer) => {
          const chunks: Buffer[] = [];
          answer.on('data', (chunk: Buffer) => chunks.push(chunk));
          answer.on('end', () => {
            const text = Buffer.concat(chunks).toString();
            const lines = text.split('\n').filter((line) => line.trim() !== '');
            for (const line of lines) {
              const { message, error } = JSON.parse(line) as { message?: string; error?: string };
              if ((answer.statusCode ?? 0) >= 400 && message !== undefined) return done(message);
              if (error !== undefined) return done(error);
            }
            done(undefined);
          });
        },
      );
      // An engine that refuses may close before it has read all.
      sent.on('error', (error: NodeJS.ErrnoException) => (error.code === 'EPIPE' || error.code === 'ECONNRESET' ? undefined : fail(error)));
      sent.end(body);
    });

  const configOf = (layer: Buffer): Buffer =>
    Buffer.from(
      JSON.stringify({ architecture: 'amd64', os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: [digestOf(layer)] } }),
    );

  /** Every way by which an archive gets in. */
  const ENTRIES: Record<string, (bytes: Buffer) => Promise<Refusal>> = {
    import: (bytes) => call('POST', '/images/create?fromSrc=-&repo=hostile', bytes),
    load: (bytes) => {
      const config = configOf(bytes);
      const outer = archive([
        {
          path: 'manifest.json',
          content: JSON.stringify([{ Config: 'config.json', RepoTags: ['hostile:latest'], Layers: ['layer.tar'] }]),
        },
        { path: 'config.json', content: config },
        { path: 'layer.tar', content: bytes },
      ]);
      return call('POST', '/images/load', outer);
    },
    pull: async (bytes) => {
      const layer = gzipSync(bytes);
      const config = configOf(bytes);
      const manifest = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: config.length },
          layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digestOf(layer), size: layer.length }],
        }),
      );
      const reference = await trial.registry.push('hostile', 'latest', {
        tar: bytes,
        layer,
        config,
        manifest,
        digest: digestOf(manifest),
        id: digestOf(config),
      });
      return call('POST', `/images/create?fromImage=${encodeURIComponent(reference)}`, Buffer.alloc(0));
    },
    'PUT archive': async (bytes) => {
      const made = await trial.engine.api<{ Id: string }>('POST', '/containers/create', { Image: trial.image, Cmd: ['true'] });
      // Into one that has just ended, or is about to: whichever it is, it has a root.
      await trial.engine.api('POST', `/containers/${made.body.Id}/start`);
      await trial.engine.api('POST', `/containers/${made.body.Id}/wait`);
      try {
        return await call('PUT', `/containers/${made.body.Id}/archive?path=/tmp`, bytes);
      } finally {
        await trial.engine.api('DELETE', `/containers/${made.body.Id}?force=1`);
      }
    },
  };

  /** What a way out would have left somewhere else than in a layer's own tree. */
  const escaped = (): string[] => {
    const names = ['(', '-name', 'victim', '-o', '-name', 'secret', '-o', '-name', 'target-evil', ')', '-not', '-path', '*/diff/*'];
    const found = execFileSync('find', [join(trial.engine.folder, 'data'), ...names]).toString();
    return [...found.split('\n').filter(Boolean), ...['/victim', '/tmp/gantry-hostile', '/secret'].filter((path) => existsSync(path))];
  };

  for (const [entry, send] of Object.entries(ENTRIES)) {
    const corpus: readonly HostileArchive[] = entry === 'PUT archive' ? hostileArchives : [...hostileArchives, ...hostileLayers];
    it(`are refused or kept inside by ${entry}`, async () => {
      for (const one of corpus) {
        const refusal = await send(one.bytes);
        if (one.outcome === 'refused') {
          expect(refusal, one.name).toBeTypeOf('string');
          if (one.says !== undefined) expect(refusal, one.name).toContain(one.says);
        } else {
          expect(refusal, one.name).toBeUndefined();
        }
      }
      expect(escaped()).toEqual([]);
      expect(await trial.engine.ping()).toBe(true);
    }, 240_000);
  }

  it('leave nothing behind', () => {
    const { engine } = trial;
    expect(engine.docker(['image', 'prune', '-af']).code).toBe(0);
    const storage = join(engine.folder, 'data/storage/overlay2');
    expect(readdirSync(storage).filter((name) => /[0-9a-f]{64}/.test(name))).toEqual([]);
    expect(execFileSync('find', [join(engine.folder, 'data'), '-path', '*sha256/*', '-type', 'f']).toString()).toBe('');
  });
});

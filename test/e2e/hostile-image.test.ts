import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeImage } from '../../cli/setup/trial-image.mjs';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();

/** What some engine takes an option from when it finds it in an image's metadata, with a value that would do harm. */
const LABELS: Readonly<Record<string, string>> = {
  'org.systemd.property.ExecStopPost': "'/bin/touch /canary'",
  'org.systemd.property.DeviceAllow': "'char-* rwm'",
  'io.kubernetes.cri-o.Devices': '/dev/sda:/dev/sda:rwm',
  'io.kubernetes.cri-o.userns-mode': 'host',
  'io.containerd.runc.v2.group': 'host',
  'io.katacontainers.config.hypervisor.path': '/bin/sh',
  'run.oci.hooks.stderr': '/canary',
  'run.oci.handler': 'krun',
  'run.oci.mount_context_type': 'rootcontext',
  'cdi.k8s.io/devices': 'vendor.com/device=all',
  'com.docker.network.bridge.name': 'docker0',
  'com.docker.compose.project': 'other',
  'gantry.storage-driver': 'vfs',
  'gantry.privileged': 'true',
  privileged: 'true',
  'log-driver': 'binary:///bin/touch',
  __proto__x: 'polluted',
  constructor: 'polluted',
};
/** The same as an image's configuration may carry it beside the fields that an engine knows. */
const CONFIG = {
  Labels: LABELS,
  Annotations: LABELS,
  HostConfig: { Privileged: true, Binds: ['/:/host'], PidMode: 'host' },
  LogConfig: { Type: 'binary', Config: { uri: 'binary:///bin/touch' } },
  Runtime: '/bin/sh',
  Hooks: { prestart: [{ path: '/bin/touch' }] },
};

const TROJANS = 'ps top nsenter sh-real tar gzip unpigz xz zstd git mount umount ip iptables runc gantry-runtime gantry-init'.split(' ');

describe.skipIf(reason)(`an image that means harm${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  let scratch: string;
  const docker = (...args: string[]) => trial.engine.docker(args);
  const ok = (...args: string[]): string => {
    const result = docker(...args);
    expect(result, `docker ${args.join(' ')}\n${trial.engine.log.slice(-1500)}`).toMatchObject({ code: 0 });
    return result.stdout.trim();
  };

  beforeAll(async () => {
    trial = await openTrial();
    scratch = mkdtempSync('/tmp/gantry-hostile-');
  });
  afterAll(async () => {
    if (!trial) return;
    rmSync(scratch, { recursive: true, force: true });
    expect(await trial.close()).toEqual({});
  });

  /** config.json of a running container, without what is its own. */
  const specOf = (id: string): Record<string, unknown> => {
    const found = (readdirSync(trial.engine.folder, { recursive: true, encoding: 'utf8' }) as string[]).find((path) =>
      path.endsWith(`${id}/config.json`),
    );
    const text = readFileSync(join(trial.engine.folder, found ?? 'no bundle'), 'utf8');
    const common = text.replaceAll(id, 'ID').replaceAll(id.slice(0, 12), 'HOST');
    return JSON.parse(common.replace(/\/netns\/[0-9a-f]+/, '/netns/SANDBOX')) as Record<string, unknown>;
  };
  const options = (name: string): unknown => {
    const [seen] = JSON.parse(ok('inspect', name)) as { HostConfig: unknown }[];
    return seen?.HostConfig;
  };

  it('sets no option of the engine or the runtime by its metadata (CVE-2024-3154)', async () => {
    const image = await trial.registry.push('trial/labelled', 'latest', await makeImage({ config: CONFIG }));
    ok('pull', '-q', image);
    const network = ['--network', 'none'];
    const plain = ok('run', '-d', '--name', 'plain', ...network, trial.image, 'sleep', '1000');
    const labelled = ok('run', '-d', '--name', 'labelled', ...network, image, 'sleep', '1000');
    expect(specOf(labelled)).toEqual(specOf(plain));
    expect(options('labelled')).toEqual(options('plain'));
    // They are labels, and nothing more.
    expect(JSON.parse(ok('inspect', '-f', '{{json .Config.Labels}}', 'labelled'))).toEqual(LABELS);

    // The comparison would see one that arrived: who creates the container may well say so.
    const annotated = ok('run', '-d', '--annotation', 'run.oci.handler=none', ...network, trial.image, 'sleep', '1000');
    expect(specOf(annotated)).toEqual({ ...specOf(plain), annotations: { 'run.oci.handler': 'none' } });
    ok('rm', '-f', 'plain', 'labelled', annotated);
  });

  it('has none of its programs executed for what the engine wants to know (CVE-2022-1227, CVE-2019-14271)', async () => {
    // The folder is the host's; in the container it is another, of the image.
    const canary = join(scratch, 'executed');
    const image = await trial.registry.push(
      'trial/trojans',
      'latest',
      await makeImage({
        extend(rootfs: string) {
          mkdirSync(join(rootfs, scratch), { recursive: true });
          for (const name of TROJANS) {
            const path = join(rootfs, 'bin', name);
            rmSync(path, { force: true });
            writeFileSync(path, `#!/bin/sh\n: >${canary}\n`);
            chmodSync(path, 0o755);
          }
          mkdirSync(join(rootfs, 'lib'), { recursive: true });
          for (const name of ['libnss_files.so.2', 'libnss_compat.so.2', 'ld-linux-x86-64.so.2'])
            writeFileSync(join(rootfs, 'lib', name), 'not a library');
          writeFileSync(join(rootfs, 'etc/ld.so.preload'), '/lib/libnss_files.so.2\n');
          symlinkSync('/lib', join(rootfs, 'lib64'));
        },
      }),
    );
    ok('pull', '-q', image);
    ok('run', '-d', '--name', 'hostile', '--user', 'nobody', image, 'sleep', '1000');
    const executed = (): boolean => existsSync(canary) || docker('exec', 'hostile', 'test', '-e', canary).code === 0;

    ok('top', 'hostile');
    ok('stats', '--no-stream', 'hostile');
    ok('diff', 'hostile');
    ok('cp', 'hostile:/etc/passwd', join(scratch, 'passwd'));
    ok('cp', join(scratch, 'passwd'), 'hostile:/tmp/passwd');
    ok('export', '-o', join(scratch, 'exported.tar'), 'hostile');
    ok('commit', 'hostile', 'hostile:kept');
    ok('pause', 'hostile');
    ok('unpause', 'hostile');
    ok('update', '--memory', '100m', '--memory-swap', '200m', 'hostile');
    expect(executed()).toBe(false);

    // One that is executed is seen.
    ok('exec', '--user', '0', 'hostile', '/bin/ps');
    expect(executed()).toBe(true);
    ok('rm', '-f', 'hostile');
    ok('rmi', 'hostile:kept');
  });
});

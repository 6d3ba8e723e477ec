import { join } from 'node:path';
import { messageOf } from '@gantry/core/contracts/errors.js';
import type { HostDevices } from '@gantry/core/contracts/host-devices.js';
import type { DriverEnv, DriverManifest, Probe } from '@gantry/core/contracts/manifest.js';
import { findMkfs } from './base.js';
import { ThinDevices } from './devices.js';
import { DeviceMapperDriver } from './driver.js';
import { ThinPool } from './pool.js';
import { ThinRecords } from './records.js';
import { poolOptions, readSettings } from './settings.js';

function hostDevices(env: DriverEnv): HostDevices {
  if (!env.host.devices) throw new Error('the host has none');
  return env.host.devices();
}

async function probe(env: DriverEnv): Promise<Probe> {
  let devices: HostDevices;
  try {
    devices = hostDevices(env);
  } catch (error) {
    return { ok: false, reason: `this build has no part for device-mapper, or libdevmapper is missing: ${messageOf(error)}` };
  }
  try {
    const version = await devices.version();
    const { fileSystem } = readSettings(env.options);
    if (findMkfs(fileSystem) === undefined) return { ok: false, reason: `mkfs.${fileSystem} is not installed (dm.fs)` };
    return { ok: true, note: `device-mapper ${version}` };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return { ok: false, reason: `the kernel has no device-mapper (CONFIG_BLK_DEV_DM): ${messageOf(error)}` };
  }
}

/** Thin devices of a pool, each with a file system. */
export const devicemapper: DriverManifest<'storage'> = {
  kind: 'storage',
  name: 'devicemapper',
  capabilities: ['quota'],
  options: poolOptions,
  probe,
  async open(env) {
    const settings = readSettings(env.options);
    const devices = hostDevices(env);
    const prefix = `gantry-${env.instance}-`;
    const driver = new DeviceMapperDriver(
      env,
      devices,
      settings,
      new ThinPool(env, devices, settings, prefix),
      new ThinDevices(devices, prefix, join(env.runRoot, 'nodes'), settings.deferredRemoval),
      new ThinRecords(join(env.root, 'devices')),
    );
    await driver.open();
    return driver;
  },
};

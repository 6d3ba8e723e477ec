import type { Host } from '@gantry/core/contracts/host.js';
import { loadDevices } from './devices.js';
import { files } from './files.js';
import { logs } from './logs.js';
import { net } from './net.js';
import { process } from './process.js';
import { projects, subvolumes } from './storage.js';

/** The real system calls, behind core/contracts/host.ts. */
export const host: Host = { devices: loadDevices, files, logs, net, process, projects, subvolumes };

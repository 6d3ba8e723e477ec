import type { HostProcess } from '@gantry/core/contracts/host-process.js';
import { addon } from './addon.js';

export const process: HostProcess = addon() as unknown as HostProcess;

import type { HostFiles } from '@gantry/core/contracts/host-files.js';
import { addon } from './addon.js';

export const files: HostFiles = addon() as unknown as HostFiles;

import type { AnyManifest } from '@gantry/core/contracts/manifest.js';
import { defaultIpam } from './ipam/default/manifest.js';
import { clusterIpam } from './ipam/cluster/manifest.js';
import { jsonFileLog } from './log/json-file/manifest.js';
import { noneLog } from './log/none/manifest.js';
import { bridgeNetwork } from './network/bridge/manifest.js';
import { hostNetwork } from './network/host/manifest.js';
import { ipvlanNetwork } from './network/ipvlan/manifest.js';
import { macvlanNetwork } from './network/macvlan/manifest.js';
import { noneNetwork } from './network/none/manifest.js';
import { overlayNetwork } from './network/overlay/manifest.js';
import { nativeRuntime } from './runtime/native/manifest.js';
import { runcRuntime } from './runtime/runc/manifest.js';
import { btrfs } from './storage/btrfs/manifest.js';
import { devicemapper } from './storage/devicemapper/manifest.js';
import { overlay2 } from './storage/overlay2/manifest.js';
import { vfs } from './storage/vfs/manifest.js';
import { local } from './volume/local/manifest.js';

/** Every driver in the source tree. A new one is its folder plus a line here and one in set.json, which says what a build is made of: a bundle has a module of that in the place of this one. */
export const drivers: readonly AnyManifest[] = [
  overlay2,
  btrfs,
  devicemapper,
  vfs,
  bridgeNetwork,
  hostNetwork,
  noneNetwork,
  macvlanNetwork,
  ipvlanNetwork,
  overlayNetwork,
  defaultIpam,
  clusterIpam,
  local,
  jsonFileLog,
  noneLog,
  nativeRuntime,
  runcRuntime,
];

/** KIND/NAME of the drivers that are in the source tree and not in this build. */
export const leftOut: readonly string[] = [];

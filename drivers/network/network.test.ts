import { networkConformance } from '@gantry/test/conformance/network.js';
import { inOwnNamespace } from '@gantry/test/network/namespace.js';
import { bridgeNetwork } from './bridge/manifest.js';
import { hostNetwork } from './host/manifest.js';
import { macvlanNetwork } from './macvlan/manifest.js';
import { noneNetwork } from './none/manifest.js';
import { overlayNetwork } from './overlay/manifest.js';

inOwnNamespace(import.meta.url, () => {
  networkConformance(bridgeNetwork);
  networkConformance(hostNetwork);
  networkConformance(noneNetwork);
  networkConformance(macvlanNetwork);
  networkConformance(overlayNetwork);
});

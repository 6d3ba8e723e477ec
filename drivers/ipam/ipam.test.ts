import { ipamConformance } from '@gantry/test/conformance/ipam.js';
import { defaultIpam } from './default/manifest.js';

ipamConformance(defaultIpam);

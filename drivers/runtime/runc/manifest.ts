import { ociRuntime } from '../oci-manifest.js';

/** runc as the distribution has it. */
export const runcRuntime = ociRuntime('runc');

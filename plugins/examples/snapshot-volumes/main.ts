import { serve } from '../../sdk/index.js';
import { SnapshotVolumes } from './plugin.js';

const [socket = '/run/docker/plugins/snapshots.sock', root = '/var/lib/snapshot-volumes'] = process.argv.slice(2);
await serve({ socket, volume: new SnapshotVolumes(root) });
